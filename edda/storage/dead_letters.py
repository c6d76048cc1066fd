"""Accepted events whose handlers have given up: failed instances of the handlers' workflow."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    bindparam,
    delete,
    literal_column,
    null,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from edda.ids import HANDLERS_SUFFIX
from edda.storage.dialects.base import Attempt, Dialect
from edda.storage.models import workflow_history, workflow_instances
from edda.storage.records import DeadLetterRecord
from edda.storage.upkeep_writes import DeadLetterRequeued
from edda.types import Status

_table = workflow_instances.c
_is_of_handlers = _table.workflow_name == _table.owner_service + literal_column(f"'{HANDLERS_SUFFIX}'")
_failed: ColumnElement[str] = literal_column("'failed'")


async def load(connection: AsyncConnection, dialect: Dialect, *, limit: int) -> list[DeadLetterRecord]:
    """The oldest ones, with the steps that failed."""
    rows = (await connection.execute(_SELECT, {"count": limit})).all()
    if not rows:
        return []
    parameters = {"instance_ids": [row.instance_id for row in rows]}
    steps = (await connection.execute(_select_failures(dialect), parameters)).all()
    return [
        DeadLetterRecord(
            instance_id=row.instance_id,
            owner_service=row.owner_service,
            input_data=row.input_data,
            output_data=row.output_data,
            failed_at=row.updated_at,
            failures=tuple(
                (step.activity_id, step.event_data) for step in steps if step.instance_id == row.instance_id
            ),
        )
        for row in rows
    ]


# In the order of an index; what has not failed is passed over.
_SELECT = (
    select(_table.instance_id, _table.owner_service, _table.input_data, _table.output_data, _table.updated_at)
    .where(_table.status == _failed, _is_of_handlers)
    .order_by(_table.started_at, _table.instance_id)
    .limit(bindparam("count"))
)


@cache
def _select_failures(dialect: Dialect) -> Select[Any]:
    return (
        select(workflow_history.c.instance_id, workflow_history.c.activity_id, workflow_history.c.event_data)
        .where(
            dialect.member(workflow_history.c.instance_id, "instance_ids"),
            workflow_history.c.event_type == literal_column("'ActivityFailed'"),
        )
        .order_by(workflow_history.c.id)
    )


def requeue(
    connection: Connection, dialect: Dialect, writes: Sequence[DeadLetterRequeued], attempt: Attempt
) -> list[bool]:
    """Have the handlers that gave up begin anew; rare, so each costs its own statements.

    The handlers that succeeded keep their rows, and are not run again.
    """
    return [_requeue(connection, dialect, write, attempt) for write in writes]


def _requeue(connection: Connection, dialect: Dialect, write: DeadLetterRequeued, attempt: Attempt) -> bool:
    parameters = {"instance": write.instance_id}
    status = connection.scalar(_SELECT_STATUS, parameters)
    if status != Status.FAILED:
        # It may have been this very write that revived it.
        return attempt is Attempt.UNCERTAIN and status is not None and not Status(status).is_terminal
    connection.execute(_FORGET_FAILURES, parameters)
    connection.execute(_revive(dialect), parameters)
    return True


_SELECT_STATUS = (
    select(_table.status)
    .where(_table.instance_id == bindparam("instance"), _is_of_handlers)
    .with_for_update()
)
_FORGET_FAILURES = delete(workflow_history).where(
    workflow_history.c.instance_id == bindparam("instance"),
    workflow_history.c.event_type.in_(
        [literal_column("'ActivityFailed'"), literal_column("'WorkflowFailed'")]
    ),
)


@cache
def _revive(dialect: Dialect) -> Any:
    return (
        update(workflow_instances)
        .where(_table.instance_id == bindparam("instance"))
        .values(
            status=literal_column("'running'"),
            output_data=null(),
            due_at=dialect.now(),
            updated_at=dialect.now(),
        )
    )
