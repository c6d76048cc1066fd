"""Taking leases: of whatever is due, or of one particular instance."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

from sqlalchemy import Connection

from edda.storage import due, leases
from edda.storage.dialects.base import Attempt, Dialect
from edda.storage.records import ClaimedInstance, Lease
from edda.storage.writes import InstanceClaimed, InstancesClaimed, NotClaimable
from edda.types import Status


def claim_due(
    connection: Connection, dialect: Dialect, writes: Sequence[InstancesClaimed], attempt: Attempt
) -> list[tuple[ClaimedInstance, ...]]:
    """Lease the instances that are due longest; rows locked by another worker are passed over."""
    alike: dict[tuple[Any, ...], list[int]] = {}
    answers = [_regranted(connection, dialect, write.granted) for write in writes]
    for place, write in enumerate(writes):
        if not answers[place]:
            alike.setdefault((write.owner, write.workflow_names, write.lease_seconds), []).append(place)
    for places in alike.values():
        taken = iter(_claim_some(connection, dialect, [writes[place] for place in places]))
        for place in places:
            answers[place] = tuple(islice(taken, max(0, writes[place].limit)))
    return answers


def _claim_some(
    connection: Connection, dialect: Dialect, writes: Sequence[InstancesClaimed]
) -> tuple[ClaimedInstance, ...]:
    """What several claims that differ only in their limits take together."""
    one, limit = writes[0], sum(max(0, write.limit) for write in writes)
    if not one.workflow_names or limit < 1:
        return ()
    rows = due.find_due(connection, dialect, one.workflow_names, limit=limit)
    taken = tuple(claimed_from(row, one.owner, lease_seconds=one.lease_seconds) for row in rows)
    _grant(connection, dialect, taken)
    return taken


def _regranted(
    connection: Connection, dialect: Dialect, granted: Sequence[ClaimedInstance]
) -> tuple[ClaimedInstance, ...]:
    if not granted:
        return ()
    found = due.find(connection, dialect, [one.lease.instance_id for one in granted])
    taken = tuple(one for one in granted if regranted(found.get(one.lease.instance_id), one))
    _grant(connection, dialect, taken)
    return taken


def claim_particular(
    connection: Connection, dialect: Dialect, writes: Sequence[InstanceClaimed], attempt: Attempt
) -> list[ClaimedInstance | NotClaimable]:
    """Lease particular instances, unless somebody else's lease of them is good."""
    found = due.find(connection, dialect, [write.instance_id for write in writes])
    granted: dict[str, ClaimedInstance] = {}
    answers: list[ClaimedInstance | NotClaimable] = []
    for write in writes:
        # Of two claims in one batch the first one takes the lease.
        taken = write.instance_id in granted
        answer = NotClaimable.LEASED if taken else _claim(found.get(write.instance_id), write)
        if isinstance(answer, ClaimedInstance):
            granted[write.instance_id] = answer
        answers.append(answer)
    _grant(connection, dialect, tuple(granted.values()))
    return answers


def _claim(row: Any, write: InstanceClaimed) -> ClaimedInstance | NotClaimable:
    if row is None:
        return NotClaimable.UNKNOWN
    if (granted := regranted(row, write.granted)) is not None:
        return granted
    if Status(row.status).is_terminal:
        return NotClaimable.TERMINAL
    leased = row.lease_owner is not None and row.due_in is not None and row.due_in > 0
    outrun = write.expected_token is not None and write.expected_token != row.lease_token
    if leased or outrun:
        return NotClaimable.LEASED
    return claimed_from(row, write.owner, lease_seconds=write.lease_seconds)


def regranted(row: Any, granted: ClaimedInstance | None) -> ClaimedInstance | None:
    """What an attempt has granted, if this row, which is locked, says that its commit has happened."""
    if row is None or granted is None:
        return None
    lease = granted.lease
    return granted if (row.lease_owner, row.lease_token) == (lease.owner, lease.token) else None


def claimed_from(row: Any, owner: str, *, lease_seconds: float, cancelled: bool = False) -> ClaimedInstance:
    """The instance of this row, which is locked, under the next lease."""
    # A row that still has an owner is due because the lease ran out: its run died.
    attempts = row.attempts + (row.lease_owner is not None)
    seconds = (
        lease_seconds if row.lock_timeout_seconds is None else min(lease_seconds, row.lock_timeout_seconds)
    )
    status = Status(row.status)
    return ClaimedInstance(
        lease=Lease(row.instance_id, owner, row.lease_token + 1, seconds),
        workflow_name=row.workflow_name,
        status=status if status is Status.COMPENSATING else Status.RUNNING,
        input_data=row.input_data,
        input_types=row.input_types,
        lock_timeout_seconds=row.lock_timeout_seconds,
        attempts=attempts,
        chain_id=row.chain_id,
        cancelled=cancelled or row.cancel_token is not None,
    )


def _grant(connection: Connection, dialect: Dialect, taken: Sequence[ClaimedInstance]) -> None:
    if taken:
        leases.grant(connection, dialect, [(instance.lease, instance.attempts) for instance in taken])
