"""From the end of a body to the end of its instance: what is registered is compensated in between.

The same way leads there from a body that has just failed, from a cancellation, and from
an instance whose worker died on it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any, Protocol

from edda.clock import monotonic
from edda.codec.json import loads_object
from edda.execution import Ending, Execution, Outcome, Stopped
from edda.rollback import Rollback, ending_in
from edda.run import Run, Services
from edda.settlement import RollbackDue, Settlement
from edda.storage.records import ClaimedInstance, Lease
from edda.storage.writes import NotReopened, Parked, RollbackReopened, RunReleased, Verdict
from edda.types import JSONValue, Status
from edda.workflow import Workflow


@dataclass(frozen=True, slots=True)
class _Unwound:
    """The instance: its lease, until when that is good on this worker's clock, and the runs that died."""

    lease: Lease
    workflow_name: str
    chain_id: str
    good_until: float
    attempts: int


class Driver(Protocol):
    """What unwinding needs of the engine."""

    def find(self, workflow_name: str) -> Workflow[Any, Any] | None:
        """The workflow of this name, if this worker can run it."""
        ...

    def execute(
        self, run: Run, workflow: Workflow[Any, Any], arguments: dict[str, Any], ending: Ending | None = None
    ) -> Execution:
        """The execution of this function in this run."""
        ...

    async def drive(self, execution: Execution, *, attempts: int = 0) -> Outcome | Parked:
        """Run it to its outcome, and settle that."""
        ...

    async def set_aside(self, lease: Lease, error: Exception, attempts: int, subscriber: str) -> Outcome:
        """Hand the lease back, for another try later."""
        ...


class Unwinding:
    """Rolls instances back and ends them, for one worker."""

    def __init__(self, services: Services, settlement: Settlement, driver: Driver) -> None:
        self._services = services
        self._storage = services.storage
        self._settlement = settlement
        self._driver = driver

    async def go_on(self, over: Run, due: RollbackDue, *, attempts: int) -> Outcome | Parked:
        """Unwind an instance whose body is over, under the lease of the run that was its last."""
        run = _Unwound(over.lease, over.workflow_name, over.chain_id, over.lease_good_until, attempts)
        try:
            rollback = await self._load(run, due.error)
            return await self._unwind(run, rollback, begun=due.error is not None)
        except Exception as error:  # noqa: BLE001 - what cannot be loaded is set aside, whatever the cause
            return await self._driver.set_aside(over.lease, error, attempts, over.chain_id)

    async def compensate_again(self, instance_id: str, lease_seconds: float) -> list[JSONValue]:
        """Execute the failed compensations of an ended instance; see ``retry_compensations``."""
        write = RollbackReopened(self._services.worker_id, instance_id, lease_seconds)
        match await self._storage.submit(write):
            case NotReopened.UNKNOWN:
                raise ValueError(f"Workflow instance {instance_id} not found")
            case NotReopened.LIVE:
                raise ValueError(f"Workflow instance {instance_id} has not ended")
            case NotReopened.NOTHING_FAILED:
                raise ValueError(f"Workflow instance {instance_id} has no failed compensations")
            case ClaimedInstance() as claimed:
                await self.take_over(claimed, announced=True)
        record = await self._storage.load_instance(instance_id)
        output = {} if record is None or record.output_data is None else loads_object(record.output_data)
        errors: list[JSONValue] = output.get("compensation_errors", [])
        return errors

    async def take_over(self, claimed: ClaimedInstance, *, announced: bool = False) -> Outcome | Parked:
        """Unwind an instance that nobody else does: cancelled, or left in the middle of it."""
        lease = claimed.lease
        run = _Unwound(
            lease, claimed.workflow_name, claimed.subscriber, monotonic() + lease.seconds, claimed.attempts
        )
        try:
            rollback = await self._load(run)
            begun = claimed.status is Status.COMPENSATING
            if rollback and not begun and self._driver.find(claimed.workflow_name) is None:
                return await self._leave_to_others(lease)
            rollback.ending = replace(rollback.ending, announced=announced)
            return await self._unwind(run, rollback, begun=begun)
        except Exception as error:  # noqa: BLE001 - as above
            return await self._driver.set_aside(lease, error, claimed.attempts, claimed.subscriber)

    async def _load(self, unwound: _Unwound, error: BaseException | None = None) -> Rollback:
        instance_id = unwound.lease.instance_id
        history, waits = await asyncio.gather(
            self._storage.load_history(instance_id), self._storage.load_waits(instance_id)
        )
        ending = ending_in(instance_id, history, error)
        return Rollback(ending, history, waits)

    async def _unwind(self, unwound: _Unwound, rollback: Rollback, *, begun: bool) -> Outcome | Parked:
        run = rollback.run(
            unwound.lease,
            workflow_name=unwound.workflow_name,
            services=self._services,
            chain_id=unwound.chain_id,
        )
        run.lease_good_until = unwound.good_until
        if not rollback and not begun:
            return await self._settlement.end(run, rollback.ending, ())
        if not begun:
            verdict = await self._settlement.begin_rollback(run, rollback.ending)
            if verdict is Verdict.LEASE_LOST:
                return Stopped(run.lose_lease())
        execution = self._driver.execute(run, rollback.body, {}, rollback.ending)
        return await self._driver.drive(execution, attempts=unwound.attempts)

    async def _leave_to_others(self, lease: Lease) -> Outcome:
        """The functions may be unknown here: a worker that knows the workflow has them."""
        await self._storage.submit(RunReleased(lease))
        return Stopped(LookupError("the workflow is not known to this worker"))
