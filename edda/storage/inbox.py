"""The accepted events and keyed messages, kept to recognise one that comes again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, bindparam, delete, select

from edda.storage.columns import LongText, Seconds
from edda.storage.dialects.base import Attempt, Dialect, RowsStatement
from edda.storage.models import RECEIVED_INDEX, workflow_inbox
from edda.storage.writes import InboxEvent, InboxPurged


def insert(connection: Connection, dialect: Dialect, events: Iterable[InboxEvent]) -> int:
    """Insert the events that are not there yet and return how many."""
    rows = sorted((e.event_key, e.owner_service, e.source, e.event_id, e.event_type) for e in events)
    return dialect.run(connection, _insert(dialect), rows)


@cache
def _insert(dialect: Dialect) -> RowsStatement:
    names = ("event_key", "owner_service", "source", "event_id", "event_type")
    incoming = dialect.incoming(**dict.fromkeys(names, LongText))
    values = {**incoming.columns, "received_at": dialect.now()}
    return RowsStatement(
        dialect.insert_absent(workflow_inbox, values, incoming=incoming, key=("event_key",)), incoming
    )


def find(connection: Connection, dialect: Dialect, event_keys: Iterable[str]) -> dict[str, str]:
    """The service that came first with each of these keys that is there."""
    rows = connection.execute(_select_keys(dialect), {"event_keys": sorted(event_keys)})
    return {row.event_key: row.owner_service for row in rows}


@cache
def _select_keys(dialect: Dialect) -> Select[Any]:
    table = workflow_inbox.c
    return select(table.event_key, table.owner_service).where(dialect.member(table.event_key, "event_keys"))


def purge(
    connection: Connection, dialect: Dialect, writes: Sequence[InboxPurged], attempt: Attempt
) -> list[int]:
    """Remove old events; those that another worker removes at this moment are passed over."""
    return [_purge(connection, dialect, write) for write in writes]


def _purge(connection: Connection, dialect: Dialect, write: InboxPurged) -> int:
    parameters = {"age": -write.older_than, "count": write.limit}
    keys = list(connection.scalars(_select_old(dialect), parameters))
    if keys:
        dialect.run(connection, _delete(dialect), [(key,) for key in sorted(keys)])
    return len(keys)


@cache
def _select_old(dialect: Dialect) -> Select[Any]:
    query = (
        select(workflow_inbox.c.event_key)
        .where(workflow_inbox.c.received_at < dialect.after(bindparam("age", type_=Seconds)))
        .order_by(workflow_inbox.c.received_at)
        .limit(bindparam("count"))
        .with_for_update(skip_locked=True)
    )
    return dialect.read_by_index(query, workflow_inbox, RECEIVED_INDEX)


@cache
def _delete(dialect: Dialect) -> RowsStatement:
    # Of the type of the key: PostgreSQL compares others with it as texts, and reads all of them.
    incoming = dialect.incoming(event_key=workflow_inbox.c.event_key.type)
    statement = delete(workflow_inbox).where(workflow_inbox.c.event_key == incoming["event_key"])
    return RowsStatement(statement, incoming)
