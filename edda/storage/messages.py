"""The rows of messages: stored once, found by channel, target and position."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, delete, select
from sqlalchemy.types import TypeEngine

from edda.storage.columns import Count, LongText
from edda.storage.dialects.base import ContentionError, Dialect, Row, RowsQuery, RowsStatement
from edda.storage.models import workflow_messages

EVERYBODY = ""
"""The target of a message that is for everybody."""
BEGINNING = 0
"""The position before the first message."""

Queue = tuple[str, str]
"""The messages of a channel for one target."""
Reading = tuple[str, str, int]
"""Channel and target, and the position after which to look."""
_KEY = ("channel", "target", "position")
_table = workflow_messages.c


def insert(connection: Connection, dialect: Dialect, rows: Sequence[Row]) -> None:
    """Store (channel, target, position, message_id, data, types, metadata) under locked channels."""
    dialect.run(connection, _insert(dialect), sorted(rows, key=lambda row: row[:3]))


@cache
def _insert(dialect: Dialect) -> RowsStatement:
    texts = dict.fromkeys(("message_id", "data", "types", "metadata"), LongText)
    incoming = dialect.incoming(channel=LongText, target=LongText, position=Count, **texts)
    values = {**incoming.columns, "published_at": dialect.now()}
    return RowsStatement(
        dialect.insert_absent(workflow_messages, values, incoming=incoming, key=_KEY), incoming
    )


def next_of(
    connection: Connection, dialect: Dialect, readings: Mapping[Reading, int]
) -> dict[Queue, list[Any]]:
    """The first messages after these positions, so many of each, in order."""
    return _find(connection, dialect, NEXT, readings)


def last_found(connection: Connection, dialect: Dialect, readings: Collection[Reading]) -> dict[Queue, int]:
    """Look for one message after each of these positions; the last one found in each queue."""
    found = _find(connection, dialect, NEXT_POSITION, dict.fromkeys(readings, 1))
    return {queue: rows[-1].position for queue, rows in found.items()}


def count(connection: Connection, dialect: Dialect, channels: Mapping[str, int]) -> dict[str, int]:
    """How many messages for everybody there are, counting to so many on each channel."""
    readings = {(channel, EVERYBODY, BEGINNING): most for channel, most in channels.items()}
    found = _find(connection, dialect, NEXT_POSITION, readings)
    return {channel: len(found.get((channel, EVERYBODY), ())) for channel in channels}


def _find(
    connection: Connection, dialect: Dialect, query: RowsQuery, readings: Mapping[Reading, int]
) -> dict[Queue, list[Any]]:
    found: dict[Queue, dict[int, Any]] = {}
    if readings:
        rows = dialect.ask(
            connection, query, [(*reading, most) for reading, most in sorted(readings.items())]
        )
        for row in rows:
            found.setdefault((row.channel, row.target), {})[row.position] = row
    return {queue: [rows[position] for position in sorted(rows)] for queue, rows in found.items()}


def _after(asked: Mapping[str, Any], *columns: Any) -> Select[Any]:
    return (
        select(*columns)
        .where(
            _table.channel == asked["channel"],
            _table.target == asked["target"],
            _table.position > asked["position"],
        )
        .order_by(_table.position)
    )


_READING: dict[str, TypeEngine[Any]] = {"channel": LongText, "target": LongText, "position": Count}
NEXT = RowsQuery(lambda asked: _after(asked, *_table), _READING)
NEXT_POSITION = RowsQuery(
    lambda asked: _after(asked, _table.channel, _table.target, _table.position), _READING
)


def delete_taken(connection: Connection, dialect: Dialect, keys: Iterable[Row]) -> None:
    """Remove messages that were taken; another taker has none of them, or all begins anew."""
    rows = sorted(keys)
    if rows and dialect.run(connection, _delete(dialect), rows) != len(rows):
        raise ContentionError


@cache
def _delete(dialect: Dialect) -> RowsStatement:
    incoming = dialect.incoming(**_READING)
    statement = delete(workflow_messages).where(*(_table[name] == incoming[name] for name in _KEY))
    return RowsStatement(statement, incoming)
