"""Removing old messages, except those that a live instance may still take as its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    ScalarSelect,
    Select,
    bindparam,
    delete,
    literal_column,
    null,
    select,
)

from edda.storage.columns import Seconds, UTCDateTime
from edda.storage.dialects.base import Attempt, Dialect
from edda.storage.message_writes import MessagesPurged, Swept
from edda.storage.models import (
    CHAIN_INDEX,
    MESSAGES_PUBLISHED_INDEX,
    workflow_instances,
    workflow_messages,
)
from edda.storage.waiters import LIVE

_instances = workflow_instances.c
_table = workflow_messages.c
_KEY = ("channel", "target", "position")
# One by one: in a join with the rows MariaDB would read the whole of a small table, and wait
# for those of its rows that others have locked.
_DELETE = delete(workflow_messages).where(*(_table[name] == bindparam(f"its_{name}") for name in _KEY))


def purge(
    connection: Connection, dialect: Dialect, writes: Sequence[MessagesPurged], attempt: Attempt
) -> list[Swept]:
    """Remove old messages; those that somebody takes or removes at this moment are passed over."""
    return [_purge(connection, dialect, write) for write in writes]


def _purge(connection: Connection, dialect: Dialect, write: MessagesPurged) -> Swept:
    parameters = {"age": -write.older_than, "since": write.since, "count": write.limit}
    rows = connection.execute(_select_old(dialect), parameters).all()
    if rows:
        connection.execute(_DELETE, [{f"its_{name}": getattr(row, name) for name in _KEY} for row in rows])
    more = len(rows) >= write.limit
    # From the same moment on: others may have been published in it.
    return Swept(len(rows), replace(write, since=rows[-1].published_at) if more else None)


@cache
def _select_old(dialect: Dialect) -> Select[Any]:
    # Only the messages are locked, not the instances that are looked at: whoever is live in
    # one statement is so under one of the ids of its chain, whatever is committed meanwhile.
    query = (
        select(_table.channel, _table.target, _table.position, _table.published_at)
        .where(
            _table.published_at >= bindparam("since", type_=UTCDateTime),
            _table.published_at < dialect.after(bindparam("age", type_=Seconds)),
            _live(dialect, _instances.instance_id, "PRIMARY").is_(null()),
            _live(dialect, _instances.chain_id, CHAIN_INDEX).is_(null()),
        )
        .order_by(_table.published_at)
        .limit(bindparam("count"))
        .with_for_update(skip_locked=True)
    )
    return dialect.read_by_index(query, workflow_messages, MESSAGES_PUBLISHED_INDEX)


def _live(dialect: Dialect, column: Column[Any], index: str) -> ScalarSelect[str]:
    """The status of the target, looked for by one of its ids, or NULL if it has ended."""
    # A value and not EXISTS, which MariaDB would answer from a list of all that are live.
    query = select(_instances.status).where(column == _table.target, _instances.status.in_(LIVE))
    one = query.limit(literal_column("1")).correlate(workflow_messages)
    return dialect.read_by_index(one, workflow_instances, index).scalar_subquery()
