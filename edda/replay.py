"""The engine: starts and resumes instances, and drives each run to its outcome.

Fresh runs, replays, take-overs after a crash and wake-ups of resident executions share
one pipeline: an execution is driven to an outcome, and the outcome settled in one write.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from edda.cancellation import Cancellation
from edda.clock import monotonic
from edda.codec.json import loads
from edda.creation import AnyWorkflow, Creation, EngineOptions
from edda.exceptions import LockLostError, LockNotAcquiredError, ShuttingDownError
from edda.execution import Ending, Execution, Outcome, Stopped
from edda.leases import HeldLeases
from edda.places import Places
from edda.regaining import take_lease_again
from edda.residents import Residents
from edda.resuming import Resuming
from edda.run import Run, Services
from edda.settlement import Ended, GoesOn, RollbackDue, Settlement, Successor
from edda.starting import Starting, raise_error
from edda.storage.records import ClaimedInstance, Lease
from edda.storage.writes import InstanceClaimed, NewInstance, NotClaimable, Parked
from edda.types import JSONValue, Status
from edda.unwinding import Unwinding
from edda.workflow import activated, find_workflow, get_all_workflows

__all__ = ["ReplayEngine"]

logger = logging.getLogger(__name__)


class ReplayEngine:
    """Runs the workflows of one worker."""

    def __init__(
        self,
        services: Services,
        options: EngineOptions,
        *,
        wake_in: Callable[[float], None],
        own_workflows: Sequence[AnyWorkflow] = (),
        places: Places | None = None,
    ) -> None:
        self._services = services
        self._storage = services.storage
        self._options = options
        self._wake_in = wake_in
        self._own = {workflow.name: workflow for workflow in own_workflows}
        self.creation = Creation(services, options)
        self._settlement = Settlement(services.storage, services.hooks, self.creation, wake_in)
        self._residents = Residents(options.residents)
        self._unwinding = Unwinding(services, self._settlement, self)
        self._cancellation = Cancellation(services, options, self)
        self._starting = Starting(
            services, self.creation, spawn=self.spawn, run_new=self.run_new, run_claimed=self.run_claimed
        )
        self.resuming = Resuming(
            services.storage,
            self._residents,
            places=places or Places(0),
            lease_seconds=options.lease_seconds,
            engine=self,
            wake_in=wake_in,
        )
        self._running: dict[str, Execution] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._draining = False
        self.leases = HeldLeases(services.storage)

    @property
    def db_url(self) -> str:
        """The database of this engine."""
        return self._options.db_url

    def find(self, workflow_name: str) -> AnyWorkflow | None:
        """The workflow of this name: one of the app's own, or a decorated one."""
        return self._own.get(workflow_name) or find_workflow(workflow_name)

    def workflow_names(self) -> list[str]:
        """The names of all workflows that this worker can run."""
        return [*self._own, *get_all_workflows()]

    def look_for_messages(self, channels: AbstractSet[str]) -> None:
        """Messages were published: runs that wait for them while they hold their lease look again."""
        for execution in self._running.values():
            execution.look_for_messages(channels)

    @property
    def running(self) -> int:
        """How many executions are being driven now."""
        return len(self._running)

    @property
    def resident(self) -> int:
        """How many parked executions are in memory."""
        return len(self._residents)

    async def start(
        self,
        workflow: AnyWorkflow,
        arguments: dict[str, Any],
        lock_timeout: float | None,
        *,
        instance_id: str | None = None,
    ) -> str:
        """Start an instance and wait until it completed or parked; see :meth:`Workflow.start`."""
        return await self._starting.start(workflow, arguments, lock_timeout, instance_id=instance_id)

    async def run_new(
        self, workflow: AnyWorkflow, new: NewInstance, arguments: dict[str, Any], *, asked_at: float
    ) -> Outcome | Parked:
        """Run an instance that was just stored, leased to this worker since ``asked_at``."""
        return await self.drive(await self._begin(workflow, new, arguments, asked_at))

    async def _begin(
        self, workflow: AnyWorkflow, new: NewInstance, arguments: dict[str, Any], asked_at: float
    ) -> Execution:
        if new.lease is None:
            raise ValueError(f"{new.instance_id} is not leased to this worker")
        hooks = self._services.hooks
        if hooks.observer is not None:
            await hooks.call("on_workflow_start", new.instance_id, new.workflow_name, loads(new.input_data))
        run = Run(
            new.lease,
            workflow_name=workflow.name,
            services=self._services,
            chain_id=new.chain_id,
            lock_timeout_seconds=new.lock_timeout_seconds,
            subscriptions=() if new.chain_id is None else None,  # a successor has those of its chain
        )
        run.trust_lease_from(asked_at)
        return self.execute(run, workflow, arguments)

    async def resume(self, workflow: AnyWorkflow, instance_id: str) -> None:
        """Run an instance now; see :meth:`Workflow.resume`."""
        record = await self._storage.load_instance(instance_id)
        if record is None:
            raise ValueError(f"Workflow instance {instance_id} not found")
        if record.workflow_name != workflow.name:
            raise ValueError(
                f"Workflow instance {instance_id} belongs to workflow {record.workflow_name!r}, "
                f"not {workflow.name!r}"
            )
        if record.status is Status.COMPLETED:
            return
        if record.status.is_terminal:
            raise ValueError(f"Cannot resume {record.status} workflow {instance_id}")
        if self._draining:
            raise ShuttingDownError(instance_id)
        answer = await self.claim(instance_id)
        if isinstance(answer, NotClaimable):
            raise LockNotAcquiredError(instance_id)
        task = self.spawn(self.run_claimed(answer))
        raise_error(await asyncio.shield(task))

    async def resume_by_name(self, instance_id: str, workflow_name: str) -> None:
        """Run an instance of a workflow given by name; otherwise as :meth:`Workflow.resume`."""
        workflow = self.find(workflow_name)
        if workflow is None:
            names = sorted(get_all_workflows())
            raise ValueError(
                f"Workflow {workflow_name!r} not found in workflow registry. Available workflows: {names}"
            )
        await self.resume(workflow, instance_id)

    async def cancel_workflow(self, instance_id: str, cancelled_by: str = "user") -> bool:
        """Have an instance undo what it did and end as ``cancelled``; False if it is not live.

        One that waits, or that no worker runs, has ended when this returns, unless a compensation
        waits. A running one stops at its next step: this waits up to five seconds for its end,
        and returns True in any case, since the request is stored. False means unknown, ended,
        being rolled back already, or past its pivot.

        ::

            await app.replay_engine.cancel_workflow(instance_id, cancelled_by="support")
        """
        return await self._cancellation.cancel(instance_id, cancelled_by)

    async def retry_compensations(self, instance_id: str) -> list[JSONValue]:
        """Execute the failed compensations of an instance that has ended, once more.

        It is ``compensating`` meanwhile and ends as it did before. Returns those that failed
        again, in the form of ``compensation_errors``; while one waits for its next attempt,
        those of the time before. Raises ``ValueError`` for an instance that is unknown, has
        not ended, or has no failed compensations.

        ::

            still_failing = await app.replay_engine.retry_compensations(instance_id)
        """
        again = self._unwinding.compensate_again(instance_id, self._options.lease_seconds)
        return await asyncio.shield(self.spawn(again))

    def run_of(self, instance_id: str) -> Execution | None:
        """The execution of this instance that is being driven now."""
        return self._running.get(instance_id)

    async def claim(self, instance_id: str, *, token: int | None = None) -> ClaimedInstance | NotClaimable:
        """Lease this instance, with a ``token`` only while that is the last one."""
        return await self._storage.submit(
            InstanceClaimed(self._services.worker_id, instance_id, self._options.lease_seconds, token)
        )

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run something in the background that the engine keeps and drains."""
        with activated(self):
            task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def run_claimed(self, claimed: ClaimedInstance) -> Outcome | Parked:
        """Go on with an instance under a fresh lease: resident if possible, else from its history."""
        with self.leases.loading(claimed.lease) as loading:
            if claimed.cancelled or claimed.status is Status.COMPENSATING:
                if (resident := self._residents.take(claimed.lease.instance_id)) is not None:
                    self.dismiss(resident)
                return await self._unwinding.take_over(claimed)
            try:
                execution = await self._wake_resident(claimed) or await self._replay(claimed)
            except Exception as error:  # noqa: BLE001 - an instance that cannot be loaded is set aside, whatever the cause
                return await self.set_aside(claimed.lease, error, claimed.attempts, claimed.subscriber)
            execution.run.trust_lease_from(loading.asked_at)
            return await self.drive(execution, attempts=claimed.attempts)

    async def _wake_resident(self, claimed: ClaimedInstance) -> Execution | None:
        execution = self._residents.take(claimed.lease.instance_id)
        if execution is None:
            return None
        if execution.run.stopped or execution.run.lease.token + 1 != claimed.lease.token:
            self.dismiss(execution)
            return None
        execution.run.take_lease(claimed.lease)
        try:
            await self.load_waits(execution.run)
        except Exception:  # whatever it is, nobody else drives it any more
            self.dismiss(execution)
            raise
        return execution

    async def load_waits(self, run: Run) -> None:
        """Learn which waits of a run that was parked are over, as far as the database knows."""
        if run.waits.may_be_due:
            run.waits.note_registered(await self._storage.load_waits(run.instance_id))
        run.waits.look_again()

    async def _replay(self, claimed: ClaimedInstance) -> Execution:
        workflow = self.find(claimed.workflow_name)
        if workflow is None:
            raise LookupError(f"Workflow {claimed.workflow_name!r} is not known to this worker")
        instance_id = claimed.lease.instance_id
        stored = await self._storage.load_run(instance_id, claimed.subscriber)
        arguments = workflow.codec.load_kwargs_text(claimed.input_data, claimed.input_types)
        run = Run(
            claimed.lease,
            workflow_name=claimed.workflow_name,
            services=self._services,
            chain_id=claimed.chain_id,
            lock_timeout_seconds=claimed.lock_timeout_seconds,
            history=stored.history,
            waits=stored.waits,
            subscriptions=stored.subscriptions,
        )
        return self.execute(run, workflow, arguments)

    async def set_aside(self, lease: Lease, error: Exception, attempts: int, subscriber: str) -> Outcome:
        """Hand the lease of an instance back, for another try after a delay."""
        try:
            await self._settlement.set_aside(lease, error, attempts=attempts, subscriber=subscriber)
        except Exception:  # noqa: BLE001 - nobody renews the lease, so all ends well, whatever the cause
            logger.warning("The lease of %s was not handed back; it expires", lease.instance_id)
        return Stopped(error)

    def execute(
        self, run: Run, workflow: AnyWorkflow, arguments: dict[str, Any], ending: Ending | None = None
    ) -> Execution:
        """The execution of this function in this run; with an ``ending`` it is a rollback."""
        with activated(self):
            execution = Execution(run, workflow, arguments, ending)
        run.regain_lease = lambda: self._regain(execution)
        execution.when_body_ends(lambda: self._end_parked(execution))
        return execution

    async def drive(self, execution: Execution, *, attempts: int = 0) -> Outcome | Parked:
        """Drive a run, after it the successors that it and they recur to, and the rollback of the last."""
        settled = await self._drive_one(execution, attempts=attempts)
        while isinstance(settled, Successor):
            attempts = 0
            execution = await self._begin(
                execution.workflow, settled.new, settled.arguments, settled.asked_at
            )
            settled = await self._drive_one(execution, attempts=attempts)
        if isinstance(settled, RollbackDue):
            self.dismiss(execution)  # a body that was about to park is still there
            return await self._unwinding.go_on(execution.run, settled, attempts=attempts)
        return settled

    async def _drive_one(self, execution: Execution, *, attempts: int) -> Ended:
        run = execution.run
        execution.driver = asyncio.current_task()
        self._running[run.instance_id] = execution
        if self._draining:
            run.stop(ShuttingDownError(run.instance_id))
        try:
            settled = await self._until_settled(execution, attempts)
        finally:
            self.leases.drop(run)
            if self._running.get(run.instance_id) is execution:
                del self._running[run.instance_id]
        if isinstance(settled, Parked):
            self.keep(execution)
            if settled.due_in is not None:
                self._wake_in(settled.due_in)
        elif isinstance(settled, Stopped):  # a body that was about to park is still there
            run.stop(settled.reason)
            self.dismiss(execution)
        return settled

    async def _until_settled(self, execution: Execution, attempts: int) -> Ended:
        run = execution.run
        try:
            while True:
                self.leases.hold(run)
                outcome = await execution.until_settled()
                # What is being handed back is not to be renewed: that would look like a loss.
                self.leases.drop(run)
                settled = await self._settle(execution, outcome, attempts)
                if not isinstance(settled, GoesOn):
                    return settled
        except Exception as error:  # a defect of ours: another run may be spared it
            logger.exception("Error of edda in %s", run.instance_id, extra={"instance_id": run.instance_id})
            self.leases.drop(run)
            run.stop(error)
            return await self.set_aside(run.lease, error, attempts, run.chain_id)

    async def _settle(self, execution: Execution, outcome: Outcome, attempts: int) -> Ended | GoesOn:
        with execution.in_doubt():
            return await self._settlement.settle(execution, outcome, attempts=attempts)

    def keep(self, execution: Execution) -> None:
        """Keep a parked execution in memory."""
        if self._draining:
            self.dismiss(execution)
            return
        waiting = execution.only_message()
        for surplus in self._residents.keep(execution, None if waiting is None else waiting.channel):
            self.dismiss(surplus)

    def dismiss(self, execution: Execution) -> None:
        """End a resident execution that another run replaces."""
        execution.run.stop(LockLostError(execution.run.instance_id))
        self.spawn(execution.end())

    async def _regain(self, execution: Execution) -> None:
        """Take the lease again for a parked body that moved on by itself."""
        if execution.regaining is None or execution.regaining.done():
            execution.regaining = self.spawn(take_lease_again(execution, self._residents, self))
        # Shielded: an operation that is cancelled must not leave a lease that nobody drives.
        await asyncio.shield(execution.regaining)

    def _end_parked(self, execution: Execution) -> None:
        """A body that ends while it is parked is settled now, not when its wait is due."""
        run = execution.run
        if not run.leased and not run.ended:
            self.spawn(self._regain(execution))

    async def drain(self, timeout: float) -> None:
        """Refuse new work, let runs reach their next step, hand back every lease.

        What has not reached a step after ``timeout`` seconds is cancelled.
        """
        self._draining = True
        self.creation.closed = True
        for execution in self._residents.take_all():
            self.dismiss(execution)
        for execution in list(self._running.values()):
            execution.run.stop(ShuttingDownError(execution.run.instance_id))
        await self._until_idle(timeout)
        for execution in list(self._running.values()):
            execution.cancel()
        await self._until_idle(timeout)
        for task in self._tasks:
            logger.warning("%s does not end; its instance goes on when its lease expires", task.get_name())

    async def _until_idle(self, timeout: float) -> None:
        deadline = monotonic() + timeout
        while (
            self._tasks and (left := deadline - monotonic()) > 0
        ):  # a task that ends may leave another behind
            await asyncio.wait(set(self._tasks), timeout=left)
