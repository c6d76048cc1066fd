"""The recorded steps of instances, one row for each step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Delete, Insert, Select, bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from edda.storage import fence
from edda.storage.columns import LongText
from edda.storage.dialects.base import Dialect, Row, RowsStatement
from edda.storage.models import workflow_history, workflow_history_archive
from edda.storage.records import HistoryRecord, Lease
from edda.types import EventType

Step = tuple[str, str]
_KEY = ("instance_id", "activity_id")
_step_of = itemgetter(0, 3)
_number_of = itemgetter(0)


def row_of(lease: Lease, activity_id: str, event_type: EventType, event_data: str) -> Row:
    """One step as a row for :func:`insert`."""
    return (*fence.key_of(lease), activity_id, event_type.value, event_data)


def insert(connection: Connection, dialect: Dialect, rows: Sequence[Row]) -> int:
    """Insert the steps that are not recorded yet and whose lease is good; return how many.

    The instances of good leases stay locked until the commit: a claim that commits
    between our looking at the lease and our own commit would let an old row in.
    Sorted, so that two batches lock instances in the same order; the sort is stable,
    so that the steps of one instance keep theirs.
    """
    # Of two rows for one step the first counts; not every database sorts that out by itself.
    distinct: dict[Row, Row] = {}
    for row in rows:
        distinct.setdefault(_step_of(row), row)
    return dialect.run(connection, _insert(dialect), sorted(distinct.values(), key=itemgetter(0)))


@cache
def _insert(dialect: Dialect) -> RowsStatement:
    columns = {
        **fence.COLUMNS,
        "activity_id": LongText,
        "event_type": LongText,
        "event_data": LongText,
    }
    incoming = dialect.incoming(**columns)
    names = ("instance_id", "activity_id", "event_type", "event_data")
    statement = dialect.insert_absent(
        workflow_history,
        {name: incoming[name] for name in names} | {"created_at": dialect.now()},
        incoming=incoming,
        key=_KEY,
        guard=fence.guard(incoming),
    )
    return RowsStatement(statement, incoming)


def find(connection: Connection, dialect: Dialect, steps: Iterable[Step]) -> dict[Step, HistoryRecord]:
    """Those of these steps that are recorded."""
    wanted = set(steps)
    parameters = {
        "instance_ids": sorted({instance_id for instance_id, _ in wanted}),
        "activity_ids": sorted({activity_id for _, activity_id in wanted}),
    }
    rows = connection.execute(_select_steps(dialect), parameters)
    found = {(row.instance_id, row.activity_id): _record(row) for row in rows}
    return {step: record for step, record in found.items() if step in wanted}


@cache
def _select_steps(dialect: Dialect) -> Select[Any]:
    return select(*workflow_history.c).where(
        dialect.member(workflow_history.c.instance_id, "instance_ids"),
        dialect.member(workflow_history.c.activity_id, "activity_ids"),
    )


def find_kind(
    connection: Connection, dialect: Dialect, instance_ids: Iterable[str], event_type: EventType
) -> list[HistoryRecord]:
    """The rows of this kind; all rows of the instances are looked at."""
    parameters = {"instance_ids": sorted(set(instance_ids)), "kind": event_type.value}
    return [_record(row) for row in connection.execute(_select_kind(dialect), parameters)]


@cache
def _select_kind(dialect: Dialect) -> Select[Any]:
    return select(*workflow_history.c).where(
        dialect.member(workflow_history.c.instance_id, "instance_ids"),
        workflow_history.c.event_type == bindparam("kind"),
    )


def archive(connection: Connection, dialect: Dialect, instance_ids: Sequence[str]) -> None:
    """Move all steps of these instances to the archive; the caller holds their leases."""
    parameters = {"instance_ids": sorted(instance_ids)}
    if connection.execute(_copy(dialect), parameters).rowcount:
        connection.execute(_delete(dialect), parameters)


@cache
def _copy(dialect: Dialect) -> Insert:
    steps = select(*workflow_history.c).where(dialect.member(workflow_history.c.instance_id, "instance_ids"))
    names = [column.name for column in workflow_history.c]
    return workflow_history_archive.insert().from_select(names, steps)


@cache
def _delete(dialect: Dialect) -> Delete:
    return workflow_history.delete().where(dialect.member(workflow_history.c.instance_id, "instance_ids"))


def count(connection: Connection, dialect: Dialect, instance_ids: Sequence[str]) -> Counter[str]:
    """How many steps of each of these instances there are, in the history and in the archive."""
    counts: Counter[str] = Counter()
    for query in _select_counts(dialect):
        for instance_id, found in connection.execute(query, {"instance_ids": sorted(instance_ids)}):
            counts[instance_id] += found
    return counts


@cache
def _select_counts(dialect: Dialect) -> tuple[Select[Any], ...]:
    return tuple(
        select(table.c.instance_id, func.count())
        .where(dialect.member(table.c.instance_id, "instance_ids"))
        .group_by(table.c.instance_id)
        for table in (workflow_history, workflow_history_archive)
    )


async def load(
    connection: AsyncConnection, dialect: Dialect, instance_ids: Sequence[str]
) -> dict[str, list[HistoryRecord]]:
    """All steps of these instances, of each in the order of recording."""
    rows = await connection.execute(_select_all(dialect), {"instance_ids": instance_ids})
    # Sorted here, so that no planner takes an order for a reason to read the whole table in it.
    found: dict[str, list[HistoryRecord]] = {instance_id: [] for instance_id in instance_ids}
    for row in sorted(rows.all(), key=_number_of):
        found.setdefault(row.instance_id, []).append(_record(row))
    return found


@cache
def _select_all(dialect: Dialect) -> Select[Any]:
    return select(*workflow_history.c).where(dialect.member(workflow_history.c.instance_id, "instance_ids"))


async def load_archived(connection: AsyncConnection, instance_id: str) -> list[HistoryRecord]:
    """All steps of an instance that recurred, in the order of recording."""
    rows = await connection.execute(_SELECT_ARCHIVED, {"instance": instance_id})
    return [_record(row) for row in rows]


_archived = workflow_history_archive.c
_SELECT_ARCHIVED = (
    select(*(_archived[column.name] for column in workflow_history.c))
    .where(_archived.instance_id == bindparam("instance"))
    .order_by(_archived.id)
)


def _record(row: Any) -> HistoryRecord:
    row_id, instance_id, activity_id, event_type, event_data, created_at = row
    return HistoryRecord(row_id, instance_id, activity_id, EventType(event_type), event_data, created_at)
