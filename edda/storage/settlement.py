"""The end of a run: parked until something is due, finished for good, or replaced by a successor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from operator import itemgetter
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, literal_column, null, select, update

from edda.storage import fence, history, instances, leases, waits
from edda.storage.columns import LongText
from edda.storage.dialects.base import Attempt, ContentionError, Dialect, RowsStatement
from edda.storage.leases import LeaseState
from edda.storage.models import workflow_history, workflow_instances, workflow_waits
from edda.storage.writes import Parked, RunFinished, RunParked, RunRecurred, Verdict
from edda.types import Status


def park(
    connection: Connection, dialect: Dialect, writes: Sequence[RunParked], attempt: Attempt
) -> list[Parked | Verdict]:
    """Register the waits of runs and hand their leases back until the first wait is due."""
    registered = [(write.lease, wait) for write in writes for wait in write.waits]
    waits.register(connection, dialect, registered)
    rows = ((*fence.key_of(write.lease), write.status.value, write.current_activity_id) for write in writes)
    dialect.run(connection, _park(dialect), sorted(rows, key=itemgetter(0)))
    found = leases.states(connection, dialect, (write.lease.instance_id for write in writes))
    return [_parked(found, write) for write in writes]


def _parked(found: Mapping[str, LeaseState], write: RunParked) -> Parked | Verdict:
    state = found.get(write.lease.instance_id)
    if state is None or state.status.is_terminal or not state.handed_back(write.lease):
        return leases.refusal(found, write.lease)
    return Parked(None if state.due_in is None else max(0.0, float(state.due_in)))


@cache
def _park(dialect: Dialect) -> RowsStatement:
    columns = {**fence.COLUMNS, "status": LongText, "activity_id": LongText}
    incoming = dialect.incoming(**columns)
    first_due = (
        select(func.min(workflow_waits.c.due_at))
        .where(workflow_waits.c.instance_id == workflow_instances.c.instance_id)
        .correlate(workflow_instances)
        .scalar_subquery()
    )
    statement = (
        update(workflow_instances)
        .where(*fence.conditions(incoming))
        .values(
            status=incoming["status"],
            current_activity_id=incoming["activity_id"],
            lease_owner=null(),
            leased_at=null(),
            due_at=first_due,
            attempts=literal_column("0"),
            last_error=null(),
            updated_at=dialect.now(),
        )
    )
    return RowsStatement(statement, incoming)


def finish(
    connection: Connection, dialect: Dialect, writes: Sequence[RunFinished], attempt: Attempt
) -> list[Verdict]:
    """End instances: last row, status, output, and neither lease nor due time nor wait left."""
    last_rows = [
        history.row_of(write.lease, write.activity_id, write.event_type, write.event_data)
        for write in writes
        if write.activity_id is not None and write.event_type is not None and write.event_data is not None
    ]
    if last_rows:
        history.insert(connection, dialect, last_rows)
    rows = [(*fence.key_of(write.lease), write.status.value, write.output_data) for write in writes]
    if dialect.run(connection, _finish(dialect), sorted(rows, key=itemgetter(0))) == len(writes):
        verdicts = [Verdict.ACCEPTED] * len(writes)
    else:
        found = leases.states(connection, dialect, (write.lease.instance_id for write in writes))
        verdicts = [_verdict(found, write) for write in writes]
    _clear(connection, dialect, _accepted(writes, verdicts))
    return verdicts


def _verdict(found: Mapping[str, LeaseState], write: RunFinished) -> Verdict:
    state = found.get(write.lease.instance_id)
    finished = state is not None and state.handed_back(write.lease) and state.status is write.status
    return Verdict.ACCEPTED if finished else leases.refusal(found, write.lease)


def _accepted(writes: Sequence[RunFinished], verdicts: Sequence[Verdict]) -> list[str]:
    return [
        write.lease.instance_id
        for write, verdict in zip(writes, verdicts, strict=True)
        if verdict is Verdict.ACCEPTED
    ]


def recur(
    connection: Connection, dialect: Dialect, writes: Sequence[RunRecurred], attempt: Attempt
) -> list[Verdict]:
    """End instances and make their successors, which are nobody else's to see before the commit.

    At the first attempt every lease is taken to be good. If one is not, the batch is made
    again and looks first, so that no successor comes from an instance that is not ended here.
    """
    done: set[str] = set()
    found: dict[str, LeaseState] = {}
    going = {write.lease.instance_id: write for write in reversed(writes)}
    if attempt is not Attempt.FIRST:
        found = leases.states(connection, dialect, going)
        done = instances.find(connection, dialect, [write.new.instance_id for write in writes])
        going = {
            instance_id: write for instance_id, write in going.items() if leases.is_held(found, write.lease)
        }
    if going:
        _recur(connection, dialect, going, attempt)
    return [
        Verdict.ACCEPTED
        if going.get(write.lease.instance_id) is write or write.new.instance_id in done
        else leases.refusal(found, write.lease)
        for write in writes
    ]


def _recur(
    connection: Connection, dialect: Dialect, writes: Mapping[str, RunRecurred], attempt: Attempt
) -> None:
    rows = [
        (*fence.key_of(write.lease), Status.RECURRED.value, write.output_data) for write in writes.values()
    ]
    if dialect.run(connection, _finish_archived(dialect), sorted(rows, key=itemgetter(0))) != len(rows):
        raise ContentionError
    _clear(connection, dialect, list(writes))
    history.archive(connection, dialect, list(writes))
    successors = [write.new for write in writes.values()]
    if not all(instances.create(connection, dialect, successors, attempt)):
        raise ValueError("the successor has the id of another instance")


def _clear(connection: Connection, dialect: Dialect, instance_ids: Sequence[str]) -> None:
    """Remove what an instance leaves behind when it ends, whichever way."""
    if instance_ids:
        waits.clear(connection, dialect, instance_ids)


@cache
def _finish(dialect: Dialect) -> RowsStatement:
    return _ended(dialect)


@cache
def _finish_archived(dialect: Dialect) -> RowsStatement:
    # What is shown as the current step is looked up in the history, which is about to be moved.
    last_step = (
        select(workflow_history.c.activity_id)
        .where(
            workflow_history.c.instance_id == workflow_instances.c.instance_id,
            workflow_history.c.id == instances.LAST_ROW,
        )
        .correlate(workflow_instances)
        .scalar_subquery()
    )
    return _ended(dialect, current_activity_id=last_step)


def _ended(dialect: Dialect, **more: ColumnElement[Any]) -> RowsStatement:
    columns = {**fence.COLUMNS, "status": LongText, "output_data": LongText}
    incoming = dialect.incoming(**columns)
    values: dict[str, ColumnElement[Any]] = {
        "status": incoming["status"],
        "output_data": incoming["output_data"],
        "lease_owner": null(),
        "leased_at": null(),
        "due_at": null(),
        "attempts": literal_column("0"),
        "last_error": null(),
        "updated_at": dialect.now(),
    }
    statement = update(workflow_instances).where(*fence.conditions(incoming)).values(**values, **more)
    return RowsStatement(statement, incoming)
