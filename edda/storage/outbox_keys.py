"""The keys of the outbox: when the first event of each may be sent, and who sends it.

A key has a row while it has events that have not ended. Who holds the lock of that row may
change the rows of its events. Two transactions never wait for each other here: marking
waits for locks, in the order of the keys, and before anything else; leasing passes over
what is locked, and waits only for a key that another one is just inserting, in that order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, bindparam, delete, literal_column, null, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from edda.storage.columns import LongText, Seconds, UTCDateTime
from edda.storage.dialects.base import Dialect, RowsStatement
from edda.storage.models import ARRIVED_INDEX, KEYS_DUE_INDEX, workflow_outbox, workflow_outbox_keys
from edda.storage.writes_outbox import OutboxMarked

_table = workflow_outbox_keys.c


def open_up(connection: Connection, dialect: Dialect, arrivals: Mapping[str, datetime]) -> set[str]:
    """Insert the keys that have no row, due since their arrival; returns those that are locked for us now."""
    wanted = sorted(arrivals)
    there = set(connection.scalars(_select_keys(dialect), {"ordering_keys": wanted}))
    if absent := [key for key in wanted if key not in there]:
        dialect.run(connection, _insert(dialect), [(key, arrivals[key]) for key in absent])
    return set(connection.scalars(_select_unlocked(dialect), {"ordering_keys": wanted}))


@cache
def _select_keys(dialect: Dialect) -> Select[Any]:
    return select(_table.ordering_key).where(dialect.member(_table.ordering_key, "ordering_keys"))


@cache
def _insert(dialect: Dialect) -> RowsStatement:
    incoming = dialect.incoming(ordering_key=LongText, due_at=UTCDateTime())
    statement = dialect.insert_absent(
        workflow_outbox_keys, incoming.columns, incoming=incoming, key=("ordering_key",)
    )
    return RowsStatement(statement, incoming)


@cache
def _select_unlocked(dialect: Dialect) -> Select[Any]:
    return _select_keys(dialect).with_for_update(skip_locked=True)


def find_due(connection: Connection, dialect: Dialect, *, limit: int) -> list[str]:
    """The keys due longest, locked; those that another transaction has locked are passed over."""
    return list(connection.scalars(_select_due(dialect), {"count": limit}))


@cache
def _select_due(dialect: Dialect) -> Select[Any]:
    query = (
        select(_table.ordering_key)
        .where(_table.due_at <= dialect.now())
        .order_by(_table.due_at)
        .limit(bindparam("count"))
        .with_for_update(skip_locked=True)
    )
    return dialect.read_by_index(query, workflow_outbox_keys, KEYS_DUE_INDEX)


def find_leased(connection: Connection, dialect: Dialect, token: str) -> list[str]:
    """The keys that were leased with this token, locked."""
    return list(connection.scalars(_select_leased(dialect), {"token": token}))


@cache
def _select_leased(dialect: Dialect) -> Select[Any]:
    return (
        select(_table.ordering_key)
        .where(_table.due_at > dialect.now(), _table.lease_token == bindparam("token"))
        .with_for_update(skip_locked=True)
    )


def lock(connection: Connection, dialect: Dialect, keys: Iterable[str]) -> dict[str, str | None]:
    """The token of the lease of each of these keys, locked until the end of the transaction."""
    rows = connection.execute(_select_tokens(dialect), {"ordering_keys": sorted(set(keys))})
    return {row.ordering_key: row.lease_token for row in rows}


@cache
def _select_tokens(dialect: Dialect) -> Select[Any]:
    return (
        select(_table.ordering_key, _table.lease_token)
        .where(dialect.member(_table.ordering_key, "ordering_keys"))
        .order_by(_table.ordering_key)
        .with_for_update()
    )


def lease(connection: Connection, dialect: Dialect, leases: Iterable[tuple[str, str, float]]) -> None:
    """Give the lease of these (key, token, seconds); the caller has locked the rows."""
    dialect.run(connection, _lease(dialect), sorted(leases))


@cache
def _lease(dialect: Dialect) -> RowsStatement:
    incoming = dialect.incoming(ordering_key=LongText, token=LongText, seconds=Seconds)
    statement = (
        update(workflow_outbox_keys)
        .where(_table.ordering_key == incoming["ordering_key"])
        .values(lease_token=incoming["token"], due_at=dialect.after(incoming["seconds"]), waits_for=null())
    )
    return RowsStatement(statement, incoming)


def wait(connection: Connection, dialect: Dialect, writes: Iterable[OutboxMarked]) -> None:
    """Have these keys wait, leased by nobody; the caller has locked the rows."""
    rows = (
        (write.event.ordering_key, write.delay, "broker" if write.for_broker else None) for write in writes
    )
    dialect.run(connection, _wait(dialect), sorted(rows, key=lambda row: row[0]))


@cache
def _wait(dialect: Dialect) -> RowsStatement:
    incoming = dialect.incoming(ordering_key=LongText, delay=Seconds, waits_for=LongText)
    statement = (
        update(workflow_outbox_keys)
        .where(_table.ordering_key == incoming["ordering_key"])
        .values(lease_token=null(), due_at=dialect.after(incoming["delay"]), waits_for=incoming["waits_for"])
    )
    return RowsStatement(statement, incoming)


def close(connection: Connection, dialect: Dialect, keys: Iterable[str]) -> None:
    """Remove these keys, whose events have all ended; the caller has locked the rows."""
    dialect.run(connection, _delete(dialect), [(key,) for key in sorted(keys)])


@cache
def _delete(dialect: Dialect) -> RowsStatement:
    incoming = dialect.incoming(ordering_key=LongText)
    statement = delete(workflow_outbox_keys).where(_table.ordering_key == incoming["ordering_key"])
    return RowsStatement(statement, incoming)


def end_waits(connection: Connection, dialect: Dialect) -> None:
    """All keys that wait for the broker are due now."""
    connection.execute(_end_waits(dialect))


@cache
def _end_waits(dialect: Dialect) -> Any:
    return (
        update(workflow_outbox_keys)
        .where(_table.due_at > dialect.now(), _table.waits_for == literal_column("'broker'"))
        .values(due_at=dialect.now(), waits_for=null())
    )


async def seconds_until_due(connection: AsyncConnection, dialect: Dialect) -> float | None:
    """Seconds until a relayer has something to do, 0 when it has, None when nothing is open."""
    arrived, due_in = (await connection.execute(_select_first(dialect))).one()
    if arrived is not None:
        return 0.0
    return None if due_in is None else max(0.0, float(due_in))


@cache
def _select_first(dialect: Dialect) -> Select[Any]:
    outbox = workflow_outbox.c
    arrived = select(outbox.id).where(outbox.arrived_at.is_not(None)).order_by(outbox.arrived_at).limit(1)
    due_in = select(dialect.until(_table.due_at)).order_by(_table.due_at).limit(1)
    return select(
        dialect.read_by_index(arrived, workflow_outbox, ARRIVED_INDEX).scalar_subquery(),
        dialect.read_by_index(due_in, workflow_outbox_keys, KEYS_DUE_INDEX).scalar_subquery(),
    )
