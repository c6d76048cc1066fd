"""The rows of instances: making and reading them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, bindparam, func, literal_column, null, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import TypeEngine

from edda.storage.columns import Count, LongText, Seconds
from edda.storage.dialects.base import Attempt, ContentionError, Dialect, Row, RowsStatement
from edda.storage.models import workflow_history, workflow_instances
from edda.storage.records import InstanceRecord
from edda.storage.writes import NewInstance
from edda.types import Status

_CREATED_TOKEN = 1


# -- making ------------------------------------------------------------------------------


def create(
    connection: Connection, dialect: Dialect, writes: Sequence[NewInstance], attempt: Attempt
) -> list[bool]:
    """Insert the instances that are not there yet; say for each write whether it made one."""
    if not writes:
        return []
    if attempt is Attempt.FIRST and len({write.instance_id for write in writes}) == len(writes):
        _insert_new(connection, dialect, writes)
        return [True] * len(writes)
    found = _find_leases(connection, dialect, [write.instance_id for write in writes])
    fresh = {write.instance_id: write for write in reversed(writes) if write.instance_id not in found}
    if fresh:
        _insert_new(connection, dialect, list(fresh.values()))
    made_before = attempt is Attempt.UNCERTAIN
    return [
        fresh.get(write.instance_id) is write
        or (made_before and _is_own(found.get(write.instance_id), write))
        for write in writes
    ]


def _insert_new(connection: Connection, dialect: Dialect, writes: Sequence[NewInstance]) -> None:
    rows = sorted(map(_new_row, writes), key=itemgetter(0))
    if dialect.run(connection, _insert(dialect), rows) != len(rows):
        raise ContentionError


def _new_row(write: NewInstance) -> Row:
    lease = write.lease
    return (
        write.instance_id,
        write.workflow_name,
        write.source_hash,
        write.owner_service,
        write.input_data,
        write.input_types,
        write.lock_timeout_seconds,
        write.continued_from,
        write.chain_id,
        None if lease is None else lease.owner,
        0 if lease is None else _CREATED_TOKEN,
        None if lease is None else 0.0,
        0.0 if lease is None else lease.seconds,
    )


def find(connection: Connection, dialect: Dialect, instance_ids: list[str]) -> set[str]:
    """Those of these instances that are there."""
    return set(_find_leases(connection, dialect, instance_ids)) if instance_ids else set()


def _find_leases(
    connection: Connection, dialect: Dialect, instance_ids: list[str]
) -> dict[str, tuple[str | None, int]]:
    rows = connection.execute(_select_leases(dialect), {"instance_ids": instance_ids})
    return {row.instance_id: (row.lease_owner, row.lease_token) for row in rows}


@cache
def _select_leases(dialect: Dialect) -> Select[Any]:
    table = workflow_instances.c
    return select(table.instance_id, table.lease_owner, table.lease_token).where(
        dialect.member(table.instance_id, "instance_ids")
    )


def _is_own(found: tuple[str | None, int] | None, write: NewInstance) -> bool:
    return found == ((None, 0) if write.lease is None else (write.lease.owner, _CREATED_TOKEN))


@cache
def _insert(dialect: Dialect) -> RowsStatement:
    columns: dict[str, TypeEngine[Any]] = {
        "instance_id": LongText,
        "workflow_name": LongText,
        "source_hash": LongText,
        "owner_service": LongText,
        "input_data": LongText,
        "input_types": LongText,
        "lock_timeout_seconds": Seconds,
        "continued_from": LongText,
        "chain_id": LongText,
        "lease_owner": LongText,
        "lease_token": Count,
        "leased_in": Seconds,
        "due_in": Seconds,
    }
    incoming = dialect.incoming(**columns)
    values: dict[str, Any] = {name: incoming[name] for name in columns if not name.endswith("_in")}
    values |= {
        "status": literal_column("'running'"),
        "started_at": dialect.now(),
        "updated_at": dialect.now(),
        "leased_at": dialect.after(incoming["leased_in"]),
        "due_at": dialect.after(incoming["due_in"]),
        "attempts": literal_column("0"),
    }
    statement = dialect.insert_absent(workflow_instances, values, incoming=incoming, key=("instance_id",))
    return RowsStatement(statement, incoming)


# -- reading -----------------------------------------------------------------------------


async def load(connection: AsyncConnection, instance_id: str) -> InstanceRecord | None:
    """The instance, without the source text of its workflow."""
    row = (await connection.execute(_SELECT_INSTANCE, {"instance": instance_id})).mappings().one_or_none()
    return None if row is None else record_of(row)


async def load_input_types(connection: AsyncConnection, instance_id: str) -> str | None:
    """The notes beside the input of the instance, None if it has none; they are not shown."""
    found: str | None = await connection.scalar(_SELECT_INPUT_TYPES, {"instance": instance_id})
    return found


def record_of(row: RowMapping | dict[str, Any]) -> InstanceRecord:
    """The record of a row with :data:`COLUMNS` and the source text."""
    fields = dict(row)
    status = Status(fields.pop("status"))
    return InstanceRecord(status=status, **fields)


COLUMNS = (
    *(
        column
        for column in workflow_instances.c
        if column.name
        not in ("lease_owner", "leased_at", "lease_token", "cancel_token", "input_types", "chain_id")
    ),
    workflow_instances.c.lease_owner.label("locked_by"),
    workflow_instances.c.leased_at.label("locked_at"),
)
_SELECT_INSTANCE = select(*COLUMNS, null().label("source_code")).where(
    workflow_instances.c.instance_id == bindparam("instance")
)
_SELECT_INPUT_TYPES = select(workflow_instances.c.input_types).where(
    workflow_instances.c.instance_id == bindparam("instance")
)
# "id + 0": the rows of one instance are few and together in an index; a planner that
# takes the last ids of the whole table first may read it all.
LAST_ROW = (
    select(func.max(workflow_history.c.id + literal_column("0")))
    .where(workflow_history.c.instance_id == workflow_instances.c.instance_id)
    .correlate(workflow_instances)
    .scalar_subquery()
)
