"""The open waits of instances."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Select, delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from edda.storage import fence
from edda.storage.columns import LongText, Seconds, UTCDateTime
from edda.storage.dialects.base import Dialect, Incoming, Row, RowsStatement
from edda.storage.models import workflow_waits
from edda.storage.records import Lease, WaitRecord
from edda.storage.writes import NewWait
from edda.types import WaitKind

# A thousand years: what lies beyond is no time that a database can add.
_LONGEST = 3.2e10
_KEY = ("instance_id", "activity_id")
_step_of = itemgetter(0, 3)


def register(connection: Connection, dialect: Dialect, waits: Iterable[tuple[Lease, NewWait]]) -> bool:
    """Insert the waits whose lease is good; say whether that was so for certain for all.

    The instances stay locked as in :func:`edda.storage.history.insert`. The first
    registration of a step stands, unless the later one replaces it.
    """
    first: dict[Row, Row] = {}
    last: dict[Row, Row] = {}
    for lease, wait in waits:
        row = _row(lease, wait)
        if wait.replace:
            last[_step_of(row)] = row
        else:
            first.setdefault(_step_of(row), row)
    certain = not last
    if first:
        certain &= dialect.run(connection, _insert(dialect), sorted(first.values(), key=_step_of)) == len(
            first
        )
    if last:
        dialect.run(connection, _replace(dialect), sorted(last.values(), key=_step_of))
    return certain


def _row(lease: Lease, wait: NewWait) -> Row:
    seconds = None if wait.seconds is None else min(wait.seconds, _LONGEST)
    return (
        *fence.key_of(lease),
        wait.activity_id,
        wait.kind.value,
        seconds,
        wait.at,
        wait.data,
        wait.channel,
    )


@cache
def _insert(dialect: Dialect) -> RowsStatement:
    incoming = _incoming(dialect)
    values, guard = _values(dialect, incoming), fence.guard(incoming)
    statement = dialect.insert_absent(workflow_waits, values, incoming=incoming, key=_KEY, guard=guard)
    return RowsStatement(statement, incoming)


@cache
def _replace(dialect: Dialect) -> RowsStatement:
    incoming = _incoming(dialect)
    values, guard = _values(dialect, incoming), fence.guard(incoming)
    statement = dialect.insert_or_replace(workflow_waits, values, incoming=incoming, key=_KEY, guard=guard)
    return RowsStatement(statement, incoming)


def _incoming(dialect: Dialect) -> Incoming:
    return dialect.incoming(
        **fence.COLUMNS,
        activity_id=LongText,
        kind=LongText,
        seconds=Seconds,
        at=UTCDateTime(),
        data=LongText,
        channel=LongText,
    )


def _values(dialect: Dialect, incoming: Incoming) -> dict[str, Any]:
    due_at = func.coalesce(incoming["at"], dialect.after(incoming["seconds"]), type_=UTCDateTime())
    names = ("instance_id", "activity_id", "kind", "data", "channel")
    return {name: incoming[name] for name in names} | {"due_at": due_at}


def end(connection: Connection, dialect: Dialect, steps: Sequence[Row]) -> None:
    """Remove the waits of these (instance, step); the caller holds their leases."""
    dialect.run(connection, _delete_steps(dialect), sorted(steps))


@cache
def _delete_steps(dialect: Dialect) -> RowsStatement:
    incoming = dialect.incoming(instance_id=LongText, activity_id=LongText)
    statement = delete(workflow_waits).where(
        workflow_waits.c.instance_id == incoming["instance_id"],
        workflow_waits.c.activity_id == incoming["activity_id"],
    )
    return RowsStatement(statement, incoming)


def clear(connection: Connection, dialect: Dialect, instance_ids: Sequence[str]) -> None:
    """Remove all waits of these instances; the caller holds their leases."""
    connection.execute(_delete_all(dialect), {"instance_ids": sorted(instance_ids)})


@cache
def _delete_all(dialect: Dialect) -> Any:
    return delete(workflow_waits).where(dialect.member(workflow_waits.c.instance_id, "instance_ids"))


async def load(
    connection: AsyncConnection, dialect: Dialect, instance_ids: Sequence[str]
) -> dict[str, list[WaitRecord]]:
    """The open waits of these instances, of each the first due one first."""
    found: dict[str, list[WaitRecord]] = {instance_id: [] for instance_id in instance_ids}
    for row in await connection.execute(_select_waits(dialect), {"instance_ids": instance_ids}):
        record = WaitRecord(row.activity_id, WaitKind(row.kind), row.remaining, row.due_at, row.data)
        found.setdefault(row.instance_id, []).append(record)
    for waits in found.values():
        waits.sort(key=lambda wait: (wait.remaining is None, wait.remaining, wait.activity_id))
    return found


@cache
def _select_waits(dialect: Dialect) -> Select[Any]:
    table = workflow_waits.c
    return select(
        table.instance_id,
        table.activity_id,
        table.kind,
        dialect.until(table.due_at).label("remaining"),
        table.due_at,
        table.data,
    ).where(dialect.member(table.instance_id, "instance_ids"))
