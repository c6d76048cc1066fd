"""The due-queue: which instances a worker must look at, and when."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

from edda.storage.dialects.base import Dialect
from edda.storage.models import DUE_INDEX, workflow_instances

_table = workflow_instances.c


def find_due(
    connection: Connection, dialect: Dialect, workflow_names: Sequence[str], *, limit: int
) -> Sequence[Any]:
    """The rows due longest, locked; those that another transaction has locked are passed over."""
    return connection.execute(_select_due(dialect), {"names": list(workflow_names), "count": limit}).all()


@cache
def _select_due(dialect: Dialect) -> Select[Any]:
    query = (
        select(*claim_columns(dialect))
        .where(_table.due_at <= dialect.now(), dialect.among(_table.workflow_name, "names"))
        .order_by(_table.due_at)
        .limit(bindparam("count"))
        .with_for_update(skip_locked=True)
    )
    return dialect.read_by_index(query, workflow_instances, DUE_INDEX)


def find(connection: Connection, dialect: Dialect, instance_ids: Sequence[str]) -> dict[str, Any]:
    """These particular rows, locked, by id."""
    rows = connection.execute(_select_by_id(dialect), {"instance_ids": sorted(set(instance_ids))})
    return {row.instance_id: row for row in rows}


@cache
def _select_by_id(dialect: Dialect) -> Select[Any]:
    return (
        select(*claim_columns(dialect))
        .where(dialect.member(_table.instance_id, "instance_ids"))
        .order_by(_table.instance_id)
        .with_for_update()
    )


def claim_columns(dialect: Dialect) -> tuple[Any, ...]:
    """What is read of an instance to lease it."""
    return (
        _table.instance_id,
        _table.workflow_name,
        _table.status,
        _table.input_data,
        _table.input_types,
        _table.lock_timeout_seconds,
        _table.chain_id,
        _table.lease_owner,
        _table.lease_token,
        _table.cancel_token,
        _table.attempts,
        dialect.until(_table.due_at).label("due_in"),
    )


async def seconds_until_due(
    connection: AsyncConnection, dialect: Dialect, workflow_names: Sequence[str]
) -> float | None:
    """Seconds until the first instance of these workflows is due, 0 when one is."""
    due_in = await connection.scalar(_select_first(dialect), {"names": list(workflow_names)})
    return None if due_in is None else max(0.0, float(due_in))


@cache
def _select_first(dialect: Dialect) -> Select[Any]:
    query = (
        select(dialect.until(_table.due_at))
        .where(_table.due_at.is_not(None), dialect.among(_table.workflow_name, "names"))
        .order_by(_table.due_at)
        .limit(1)
    )
    return dialect.read_by_index(query, workflow_instances, DUE_INDEX)
