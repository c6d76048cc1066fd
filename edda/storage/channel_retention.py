"""Removing the rows of channels that nobody uses any more; whoever uses one again makes it anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Select,
    bindparam,
    delete,
    exists,
    literal_column,
    select,
)

from edda.storage.columns import LongText
from edda.storage.dialects.base import Attempt, Dialect, RowsQuery
from edda.storage.message_writes import ChannelsPurged, Swept
from edda.storage.models import workflow_channels, workflow_messages, workflow_subscriptions, workflow_waits
from edda.types import ChannelMode

_table = workflow_channels.c
# One by one: in a join with the names MariaDB would read the whole of a small table, and wait
# for those of its rows that others have locked.
_DELETE = delete(workflow_channels).where(_table.channel == bindparam("its_name"))


def purge(
    connection: Connection, dialect: Dialect, writes: Sequence[ChannelsPurged], attempt: Attempt
) -> list[Swept]:
    """Remove channels without messages, subscriptions and waits; those that are locked are in use."""
    return [_purge(connection, dialect, write) for write in writes]


def _purge(connection: Connection, dialect: Dialect, write: ChannelsPurged) -> Swept:
    parameters = {"after": write.after, "count": write.limit}
    names = list(connection.scalars(_select_page(dialect), parameters))
    idle = _idle(connection, dialect, names)
    if idle:
        # Only under its lock a channel stays idle. Nobody is waited for, so the order of
        # locks means nothing here, and those in use are not touched at all.
        locked = connection.scalars(_select_locked(dialect), {"names": idle})
        idle = _idle(connection, dialect, list(locked))
    if idle:
        connection.execute(_DELETE, [{"its_name": name} for name in idle])
    more = len(names) >= write.limit
    return Swept(len(idle), replace(write, after=names[-1]) if more else None)


def _idle(connection: Connection, dialect: Dialect, names: Sequence[str]) -> list[str]:
    if not names:
        return []
    rows = dialect.ask(connection, IDLE, [(name, 1) for name in names])
    return sorted(row.channel for row in rows)


@cache
def _select_page(dialect: Dialect) -> Select[Any]:
    query = (
        select(_table.channel)
        .where(_table.channel > bindparam("after", type_=LongText))
        .order_by(_table.channel)
        .limit(bindparam("count"))
    )
    return dialect.read_by_index(query, workflow_channels, "PRIMARY")


@cache
def _select_locked(dialect: Dialect) -> Select[Any]:
    query = (
        select(_table.channel)
        .where(dialect.member(_table.channel, "names"))
        .order_by(_table.channel)
        .with_for_update(skip_locked=True)
    )
    return dialect.read_by_index(query, workflow_channels, "PRIMARY")


def _query_idle(asked: Any) -> Select[Any]:
    subscriptions, waits = workflow_subscriptions.c, workflow_waits.c
    return select(_table.channel).where(
        _table.channel == asked["channel"],
        ~_is_used(workflow_messages.c.channel, asked),
        # One probe of the index for each mode, with which it begins.
        *(
            ~_is_used(subscriptions.channel, asked, subscriptions.mode == _spelled(mode))
            for mode in ChannelMode
        ),
        ~_is_used(waits.channel, asked),
    )


def _spelled(mode: ChannelMode) -> ColumnElement[str]:
    return literal_column(f"'{mode}'")


def _is_used(column: Column[Any], asked: Any, *more: ColumnElement[bool]) -> ColumnElement[bool]:
    query: Select[Any] = select(literal_column("1")).select_from(column.table)
    return exists(query.where(column == asked["channel"], *more).correlate_except(column.table))


IDLE = RowsQuery(_query_idle, {"channel": LongText})
