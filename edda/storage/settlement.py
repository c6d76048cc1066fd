"""The end of a run: parked until something is due, or finished for good."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from operator import itemgetter

from sqlalchemy import Connection, func, literal_column, null, select, update

from edda.storage import fence, history, leases, waits
from edda.storage.columns import LongText
from edda.storage.dialects.base import Attempt, Dialect, RowsStatement
from edda.storage.leases import LeaseState
from edda.storage.models import workflow_instances, workflow_waits
from edda.storage.writes import Parked, RunFinished, RunParked, Verdict


def park(
    connection: Connection, dialect: Dialect, writes: Sequence[RunParked], attempt: Attempt
) -> list[Parked | Verdict]:
    """Register the waits of runs and hand their leases back until the first wait is due."""
    registered = [(write.lease, wait) for write in writes for wait in write.waits]
    waits.register(connection, dialect, registered)
    rows = ((*fence.key_of(write.lease), write.status.value, write.current_activity_id) for write in writes)
    dialect.run(connection, _park(dialect), sorted(rows, key=itemgetter(0)))
    found = leases.states(connection, dialect, (write.lease.instance_id for write in writes))
    return [_parked(found.get(write.lease.instance_id), write) for write in writes]


def _parked(state: LeaseState | None, write: RunParked) -> Parked | Verdict:
    if state is None or state.status.is_terminal or not state.handed_back(write.lease):
        return Verdict.LEASE_LOST
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
    rows = ((*fence.key_of(write.lease), write.status.value, write.output_data) for write in writes)
    count = dialect.run(connection, _finish(dialect), sorted(rows, key=itemgetter(0)))
    if count == len(writes):
        verdicts = [Verdict.ACCEPTED] * len(writes)
    else:
        found = leases.states(connection, dialect, (write.lease.instance_id for write in writes))
        verdicts = [_verdict(found.get(write.lease.instance_id), write) for write in writes]
    _clear_waits(connection, dialect, writes, verdicts)
    return verdicts


def _verdict(state: LeaseState | None, write: RunFinished) -> Verdict:
    finished = state is not None and state.handed_back(write.lease) and state.status is write.status
    return Verdict.ACCEPTED if finished else Verdict.LEASE_LOST


def _clear_waits(
    connection: Connection, dialect: Dialect, writes: Sequence[RunFinished], verdicts: Sequence[Verdict]
) -> None:
    ended = [
        write.lease.instance_id
        for write, verdict in zip(writes, verdicts, strict=True)
        if verdict is Verdict.ACCEPTED
    ]
    if ended:
        waits.clear(connection, dialect, ended)


@cache
def _finish(dialect: Dialect) -> RowsStatement:
    columns = {**fence.COLUMNS, "status": LongText, "output_data": LongText}
    incoming = dialect.incoming(**columns)
    statement = (
        update(workflow_instances)
        .where(*fence.conditions(incoming))
        .values(
            status=incoming["status"],
            output_data=incoming["output_data"],
            lease_owner=null(),
            leased_at=null(),
            due_at=null(),
            attempts=literal_column("0"),
            last_error=null(),
            updated_at=dialect.now(),
        )
    )
    return RowsStatement(statement, incoming)
