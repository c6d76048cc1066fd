"""The beginning of a rollback, and of another one for the compensations that failed in the first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from operator import itemgetter

from sqlalchemy import Connection, bindparam, delete, literal_column, update

from edda.storage import claims, due, fence, history, leases, waits
from edda.storage.columns import LongText
from edda.storage.dialects.base import Attempt, Dialect, RowsStatement
from edda.storage.models import workflow_history, workflow_instances
from edda.storage.records import ClaimedInstance
from edda.storage.writes import NotReopened, RollbackBegun, RollbackReopened, Verdict
from edda.types import Status


def begin(
    connection: Connection, dialect: Dialect, writes: Sequence[RollbackBegun], attempt: Attempt
) -> list[Verdict]:
    """Fix the output, and the row that says why; the lease stays, the waits of the body do not.

    Repeating it changes nothing, so a commit that went unanswered needs no care.
    """
    last_rows = [
        history.row_of(write.lease, write.activity_id, write.event_type, write.event_data)
        for write in writes
        if write.activity_id is not None and write.event_type is not None and write.event_data is not None
    ]
    if last_rows:
        history.insert(connection, dialect, last_rows)
    rows = [(*fence.key_of(write.lease), write.output_data) for write in writes]
    if dialect.run(connection, _begin(dialect), sorted(rows, key=itemgetter(0))) == len(rows):
        verdicts = [Verdict.ACCEPTED] * len(writes)
    else:
        found = leases.states(connection, dialect, (write.lease.instance_id for write in writes))
        verdicts = [leases.verdict(found, write.lease) for write in writes]
    begun = [
        write.lease.instance_id
        for write, verdict in zip(writes, verdicts, strict=True)
        if verdict is Verdict.ACCEPTED
    ]
    if begun:
        waits.clear(connection, dialect, begun)
    return verdicts


@cache
def _begin(dialect: Dialect) -> RowsStatement:
    incoming = dialect.incoming(**fence.COLUMNS, output_data=LongText)
    statement = (
        update(workflow_instances)
        .where(*fence.conditions(incoming))
        .values(
            status=literal_column("'compensating'"),
            output_data=incoming["output_data"],
            updated_at=dialect.now(),
        )
    )
    return RowsStatement(statement, incoming)


def reopen(
    connection: Connection, dialect: Dialect, writes: Sequence[RollbackReopened], attempt: Attempt
) -> list[ClaimedInstance | NotReopened]:
    """Lease ended instances for another rollback; rare, so each costs its own statements.

    The rows stay locked from the look at them until the commit, as for any claim.
    """
    return [_reopen(connection, dialect, write) for write in writes]


def _reopen(
    connection: Connection, dialect: Dialect, write: RollbackReopened
) -> ClaimedInstance | NotReopened:
    row = due.find(connection, dialect, [write.instance_id]).get(write.instance_id)
    if row is None:
        return NotReopened.UNKNOWN
    if (granted := claims.regranted(row, write.granted)) is not None:
        leases.grant(connection, dialect, [(granted.lease, granted.attempts)])
        return granted
    if Status(row.status) not in (Status.FAILED, Status.CANCELLED):
        return NotReopened.LIVE if not Status(row.status).is_terminal else NotReopened.NOTHING_FAILED
    if not connection.execute(_FORGET_FAILURES, {"instance": write.instance_id}).rowcount:
        return NotReopened.NOTHING_FAILED
    claimed = claims.claimed_from(row, write.owner, lease_seconds=write.lease_seconds)
    leases.grant(connection, dialect, [(claimed.lease, claimed.attempts)])
    connection.execute(_REOPEN, {"instance": write.instance_id})
    return replace(claimed, status=Status.COMPENSATING)


_FORGET_FAILURES = delete(workflow_history).where(
    workflow_history.c.instance_id == bindparam("instance"),
    workflow_history.c.event_type == literal_column("'CompensationFailed'"),
)
_REOPEN = (
    update(workflow_instances)
    .where(workflow_instances.c.instance_id == bindparam("instance"))
    .values(status=literal_column("'compensating'"))
)
