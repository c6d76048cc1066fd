"""A row that somebody outside the engine adds to a history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache

from sqlalchemy import Connection, or_

from edda.exceptions import LockNotAcquiredError, StorageError
from edda.storage import history, leases
from edda.storage.columns import LongText
from edda.storage.dialects.base import Attempt, Dialect, Guard, RowsStatement
from edda.storage.models import workflow_history, workflow_instances
from edda.storage.writes import Write
from edda.types import EventType


class Appended(Enum):
    """What became of the row."""

    DONE = auto()
    UNKNOWN_INSTANCE = auto()
    LEASED = auto()
    RECORDED_ALREADY = auto()


@dataclass(frozen=True, slots=True)
class RowAppended(Write[Appended]):
    """A row for an instance whose lease nobody holds."""

    instance_id: str
    activity_id: str
    event_type: EventType
    event_data: str


def append(
    connection: Connection, dialect: Dialect, writes: Sequence[RowAppended], attempt: Attempt
) -> list[Appended]:
    """Insert each row if its instance is there and free, and the step not recorded."""
    return [_append(connection, dialect, write, attempt) for write in writes]


def _append(connection: Connection, dialect: Dialect, write: RowAppended, attempt: Attempt) -> Appended:
    row = (write.instance_id, write.activity_id, write.event_type.value, write.event_data)
    if dialect.run(connection, _insert(dialect), [row]):
        return Appended.DONE
    state = leases.states(connection, dialect, [write.instance_id]).get(write.instance_id)
    if state is None:
        return Appended.UNKNOWN_INSTANCE
    record = history.find(connection, dialect, [row[:2]]).get(row[:2])
    if record is None:
        return Appended.LEASED
    own = (record.event_type, record.event_data) == (write.event_type, write.event_data)
    return Appended.DONE if own and attempt is Attempt.UNCERTAIN else Appended.RECORDED_ALREADY


@cache
def _insert(dialect: Dialect) -> RowsStatement:
    names = ("instance_id", "activity_id", "event_type", "event_data")
    incoming = dialect.incoming(**dict.fromkeys(names, LongText))
    table = workflow_instances.c
    is_free = or_(table.lease_owner.is_(None), table.due_at <= dialect.now())
    statement = dialect.insert_absent(
        workflow_history,
        {**incoming.columns, "created_at": dialect.now()},
        incoming=incoming,
        key=("instance_id", "activity_id"),
        guard=Guard(workflow_instances, (table.instance_id == incoming["instance_id"], is_free)),
    )
    return RowsStatement(statement, incoming)


def check_appended(row: RowAppended, answer: Appended) -> None:
    """Raise what the answer means to the caller."""
    match answer:
        case Appended.LEASED:
            raise LockNotAcquiredError(row.instance_id)
        case Appended.UNKNOWN_INSTANCE:
            raise StorageError(f"Unknown instance {row.instance_id}")
        case Appended.RECORDED_ALREADY:
            raise StorageError(
                f"Activity {row.activity_id} is already recorded for instance {row.instance_id}"
            )
