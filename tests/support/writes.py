"""Short ways to make the writes of the storage tests."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from edda.storage.protocol import WriterPort
from edda.storage.records import ClaimedInstance, Lease
from edda.storage.writes import (
    InstanceClaimed,
    InstancesClaimed,
    NewInstance,
    NewWait,
    RunFinished,
    RunParked,
    RunRecurred,
    StepRecorded,
)
from edda.types import EventType, Status, WaitKind

WORKFLOW = "order"
OWNER = "worker-1"
OTHER = "worker-2"

_numbers = itertools.count(1)


def new_id() -> str:
    """An instance id that no other test has."""
    return f"{WORKFLOW}-{next(_numbers):08}"


def lease(
    instance_id: str | None = None, *, owner: str = OWNER, token: int = 1, seconds: float = 60.0
) -> Lease:
    return Lease(instance_id or new_id(), owner, token, seconds)


def unleased(instance_id: str | None = None, **fields: Any) -> NewInstance:
    """An instance that is due now for any worker."""
    fields = {
        "workflow_name": WORKFLOW,
        "source_hash": "hash",
        "owner_service": "shop",
        "input_data": "{}",
    } | fields
    return NewInstance(instance_id or new_id(), **fields)


def leased(held: Lease, **fields: Any) -> NewInstance:
    """An instance that its creator runs."""
    return unleased(held.instance_id, lease=held, **fields)


def step(held: Lease, activity_id: str = "pay:1", data: str = '{"result":1}', **fields: Any) -> StepRecorded:
    return StepRecorded(held, activity_id, EventType.ACTIVITY_COMPLETED, data, **fields)


def wait(activity_id: str = "sleep:1", seconds: float | None = None, **fields: Any) -> NewWait:
    return NewWait(activity_id, WaitKind.TIMER, seconds, **fields)


def parked(held: Lease, *waits: NewWait) -> RunParked:
    return RunParked(held, Status.WAITING_FOR_TIMER, waits[0].activity_id if waits else "sleep:1", waits)


def finished(held: Lease, status: Status = Status.COMPLETED, **fields: Any) -> RunFinished:
    return RunFinished(held, status, '{"result":1}', **fields)


def recurred(held: Lease, new: NewInstance | None = None) -> RunRecurred:
    """A recur to this successor, by default a new one."""
    return RunRecurred(held, '{"recur_kwargs":{}}', new or successor(held))


def successor(held: Lease, instance_id: str | None = None, **fields: Any) -> NewInstance:
    """A second instance of a chain, leased to the worker that runs the first."""
    chain = {"continued_from": held.instance_id, "chain_id": held.instance_id}
    return leased(lease(instance_id, owner=held.owner), **chain | fields)


def claim(instance_id: str, *, owner: str = OTHER, seconds: float = 60.0, **fields: Any) -> InstanceClaimed:
    return InstanceClaimed(owner, instance_id, seconds, **fields)


def claim_due(
    *, owner: str = OTHER, limit: int = 10, seconds: float = 60.0, names: Iterable[str] = (WORKFLOW,)
) -> InstancesClaimed:
    return InstancesClaimed(owner, tuple(names), limit, seconds)


async def run_of(storage: WriterPort, *, owner: str = OWNER, seconds: float = 60.0, **fields: Any) -> Lease:
    """Create an instance that ``owner`` runs, and return its lease.

    With negative ``seconds`` the lease has run out already, as if its worker had died.
    """
    held = lease(owner=owner, seconds=seconds)
    assert await storage.submit(leased(held, **fields))
    return held


async def taken_over(
    storage: WriterPort, instance_id: str, *, owner: str = OTHER, seconds: float = 60.0
) -> Lease:
    """Lease an instance that is free to take."""
    answer = await storage.submit(claim(instance_id, owner=owner, seconds=seconds))
    assert isinstance(answer, ClaimedInstance), answer
    return answer.lease
