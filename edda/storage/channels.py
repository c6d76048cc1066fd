"""The rows of channels: locking one is locking the channel, and messages are numbered by it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, literal_column, select

from edda.storage.columns import Count, LongText
from edda.storage.dialects.base import ContentionError, Dialect, RowsStatement
from edda.storage.models import workflow_channels
from edda.types import ChannelMode

_FIRST_POSITION = 1
_table = workflow_channels.c


@dataclass(slots=True)
class Channel:
    """A locked channel; ``mode`` is that of all its subscriptions, if there are any."""

    next_position: int
    mode: ChannelMode | None


def lock(connection: Connection, dialect: Dialect, names: Collection[str]) -> dict[str, Channel]:
    """Lock these channels until the end of the transaction, in the order of their names.

    Messages of a channel are numbered under its lock, so their numbers grow in the order
    of the commits: no reader can pass over a message that a slow transaction brings later.
    """
    if not names:
        return {}
    locked = _select(connection, dialect, names)
    if missing := sorted(set(names) - locked.keys()):
        dialect.run(connection, _insert(dialect), [(name,) for name in missing])
        locked |= _select(connection, dialect, missing)
        if len(locked) != len(set(names)):
            # Made by another transaction in between, and removed again since nobody used it.
            raise ContentionError
    return locked


def _select(connection: Connection, dialect: Dialect, names: Collection[str]) -> dict[str, Channel]:
    rows = connection.execute(_select_locked(dialect), {"names": sorted(names)})
    return {
        row.channel: Channel(row.next_position, None if row.mode is None else ChannelMode(row.mode))
        for row in rows
    }


@cache
def _select_locked(dialect: Dialect) -> Select[Any]:
    query = (
        select(_table.channel, _table.next_position, _table.mode)
        .where(dialect.member(_table.channel, "names"))
        .order_by(_table.channel)
        .with_for_update()
    )
    return dialect.read_by_index(query, workflow_channels, "PRIMARY")


@cache
def _insert(dialect: Dialect) -> RowsStatement:
    incoming = dialect.incoming(channel=LongText)
    values = {"channel": incoming["channel"], "next_position": literal_column(str(_FIRST_POSITION))}
    statement = dialect.insert_absent(workflow_channels, values, incoming=incoming, key=("channel",))
    return RowsStatement(statement, incoming)


def save(connection: Connection, dialect: Dialect, changed: Mapping[str, Channel]) -> None:
    """Store what became of locked channels."""
    if changed:
        rows = [
            (name, channel.next_position, None if channel.mode is None else channel.mode.value)
            for name, channel in sorted(changed.items())
        ]
        dialect.run(connection, _replace(dialect), rows)


@cache
def _replace(dialect: Dialect) -> RowsStatement:
    # Not an update: MySQL would read all rows of a small table for it, and wait for locked ones.
    incoming = dialect.incoming(channel=LongText, next_position=Count, mode=LongText)
    statement = dialect.insert_or_replace(
        workflow_channels, incoming.columns, incoming=incoming, key=("channel",)
    )
    return RowsStatement(statement, incoming)
