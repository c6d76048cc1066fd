"""The accepted events, kept to recognise one that comes again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, select

from edda.storage.columns import LongText
from edda.storage.dialects.base import Dialect, RowsStatement
from edda.storage.models import workflow_inbox
from edda.storage.writes import InboxEvent


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


def find(connection: Connection, dialect: Dialect, event_keys: Sequence[str]) -> set[str]:
    """Those of these keys that are there."""
    return set(connection.scalars(_select_keys(dialect), {"event_keys": list(event_keys)}))


@cache
def _select_keys(dialect: Dialect) -> Select[Any]:
    return select(workflow_inbox.c.event_key).where(dialect.member(workflow_inbox.c.event_key, "event_keys"))
