"""Taking leases: of whatever is due, or of one particular instance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from edda.storage import due, leases
from edda.storage.dialects.base import Attempt, Dialect
from edda.storage.records import ClaimedInstance, Lease
from edda.storage.writes import InstanceClaimed, InstancesClaimed, NotClaimable
from edda.types import Status

_LONGEST_EXTRA = 60.0
_MANY = 2


def claim_due(
    connection: Connection, dialect: Dialect, writes: Sequence[InstancesClaimed], attempt: Attempt
) -> list[tuple[ClaimedInstance, ...]]:
    """Lease the instances that are due longest; rows locked by another worker are passed over."""
    return [_claim_some(connection, dialect, write) for write in writes]


def _claim_some(
    connection: Connection, dialect: Dialect, write: InstancesClaimed
) -> tuple[ClaimedInstance, ...]:
    if not write.workflow_names or write.limit < 1:
        return ()
    rows = due.find_due(connection, dialect, write.workflow_names, limit=write.limit)
    claimed = tuple(_claimed(row, write.owner, lease_seconds=write.lease_seconds) for row in rows)
    _grant(connection, dialect, claimed)
    return claimed


def claim_particular(
    connection: Connection, dialect: Dialect, writes: Sequence[InstanceClaimed], attempt: Attempt
) -> list[ClaimedInstance | NotClaimable]:
    """Lease particular instances, unless somebody else's lease of them is good."""
    found = due.find(connection, dialect, [write.instance_id for write in writes])
    claimed: dict[str, ClaimedInstance] = {}
    answers: list[ClaimedInstance | NotClaimable] = []
    for write in writes:
        # Of two claims in one batch the first one takes the lease.
        taken = write.instance_id in claimed
        answer = NotClaimable.LEASED if taken else _claim(found.get(write.instance_id), write)
        if isinstance(answer, ClaimedInstance):
            claimed[write.instance_id] = answer
        answers.append(answer)
    _grant(connection, dialect, tuple(claimed.values()))
    return answers


def _claim(row: Any, write: InstanceClaimed) -> ClaimedInstance | NotClaimable:
    if row is None:
        return NotClaimable.UNKNOWN
    if Status(row.status).is_terminal:
        return NotClaimable.TERMINAL
    leased = row.lease_owner is not None and row.due_in is not None and row.due_in > 0
    outrun = write.expected_token is not None and write.expected_token != row.lease_token
    if leased or outrun:
        return NotClaimable.LEASED
    return _claimed(row, write.owner, lease_seconds=write.lease_seconds)


def _claimed(row: Any, owner: str, *, lease_seconds: float) -> ClaimedInstance:
    # A row that still has an owner is due because the lease ran out: its run died.
    attempts = row.attempts + (row.lease_owner is not None)
    seconds = (
        lease_seconds if row.lock_timeout_seconds is None else min(lease_seconds, row.lock_timeout_seconds)
    )
    status = Status(row.status)
    return ClaimedInstance(
        lease=Lease(row.instance_id, owner, row.lease_token + 1, seconds + takeover_delay(attempts)),
        workflow_name=row.workflow_name,
        status=status if status is Status.COMPENSATING else Status.RUNNING,
        input_data=row.input_data,
        input_types=row.input_types,
        lock_timeout_seconds=row.lock_timeout_seconds,
        attempts=attempts,
    )


def takeover_delay(attempts: int) -> float:
    """Seconds by which a lease grows when the runs before it died, so many of them in a row.

    An instance that kills its worker each time then does so less and less often.
    """
    return 0.0 if attempts < _MANY else min(2.0 ** min(attempts - 1, 16), _LONGEST_EXTRA)


def _grant(connection: Connection, dialect: Dialect, claimed: Sequence[ClaimedInstance]) -> None:
    if claimed:
        leases.grant(connection, dialect, [(instance.lease, instance.attempts) for instance in claimed])
