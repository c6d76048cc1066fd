"""The engine: starts and resumes instances, and drives each run to its outcome.

Fresh runs, replays, take-overs after a crash and wake-ups of resident executions share
one pipeline: an execution is driven to an outcome, and the outcome settled in one write.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from edda.children import ChildStart, start_with_commit
from edda.clock import monotonic
from edda.codec.json import loads
from edda.context import current_context
from edda.creation import AnyWorkflow, Creation, EngineOptions, definition_of
from edda.exceptions import LockLostError, LockNotAcquiredError, ShuttingDownError, StorageError
from edda.execution import Execution, Failed, Outcome, Stopped
from edda.leases import HeldLeases
from edda.residents import Residents
from edda.run import Run, Services
from edda.scope import activity_scope
from edda.settlement import Settlement
from edda.steps import call_step, perform
from edda.storage.records import ClaimedInstance
from edda.storage.writes import (
    InstanceClaimed,
    NewInstance,
    NotClaimable,
    Parked,
)
from edda.types import Status
from edda.unit_of_work import current_unit
from edda.workflow import activated, find_workflow, get_all_workflows

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
    ) -> None:
        self._services = services
        self._storage = services.storage
        self._options = options
        self._wake_in = wake_in
        self._own = {workflow.name: workflow for workflow in own_workflows}
        self._settlement = Settlement(services.storage, services.hooks)
        self._residents = Residents(options.residents)
        self.creation = Creation(services, options)
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
        """Start an instance and wait until it completed or parked; see :meth:`Workflow.start`.

        In the body of a workflow of this engine it is a recorded step. In an activity or
        a transaction block the instance is created with the commit and runs after it.
        """
        context = current_context.get()
        if context is not None and context.run.services is self._services and context.run.stopped:
            raise context.run.signal()  # else an activity would fail because its worker stops
        if instance_id is None and context is not None and context.run.services is self._services:
            unit, in_body = current_unit(), activity_scope(context.run) is None
            if in_body:
                return await self._start_child(context.run, workflow, arguments, lock_timeout)
            if unit is not None:
                new, _ = self.creation.prepare(workflow, arguments, lock_timeout=lock_timeout, leased=False)
                start_with_commit(unit, definition_of(workflow), new, wake=self.wake)
                return new.instance_id
        new, loaded = self.creation.prepare(
            workflow, arguments, lock_timeout=lock_timeout, leased=True, instance_id=instance_id
        )
        _raise_error(await self._run_in_background(workflow, new, loaded))
        return new.instance_id

    async def _run_in_background(
        self, workflow: AnyWorkflow, new: NewInstance, arguments: dict[str, Any]
    ) -> Outcome | Parked | None:
        # The run is a task of its own: a caller that is cancelled leaves it running.
        return await asyncio.shield(self.spawn(self._create_and_run(workflow, new, arguments)))

    async def _start_child(
        self, parent: Run, workflow: AnyWorkflow, arguments: dict[str, Any], lock_timeout: float | None
    ) -> str:
        unit = current_unit()
        # Wrong arguments are told before anything happens.
        self.creation.prepare(workflow, arguments, leased=False)

        async def start(child_id: str) -> Outcome | Parked | None:
            new, loaded = self.creation.prepare(
                workflow, arguments, lock_timeout=lock_timeout, leased=unit is None, instance_id=child_id
            )
            if unit is None:
                return await self._run_in_background(workflow, new, loaded)
            start_with_commit(unit, definition_of(workflow), new, wake=self.wake)
            return Parked(0.0)

        call = call_step(parent, f"start_{workflow.name}")
        step = ChildStart(call.step_id, workflow.name, storage=self._storage, start=start)
        return await perform(parent, call, step)

    async def _create_and_run(
        self, workflow: AnyWorkflow, new: NewInstance, arguments: dict[str, Any]
    ) -> Outcome | Parked | None:
        asked_at = monotonic()
        # Both are submitted at once, so that they share a commit.
        _, created = await asyncio.gather(
            self.creation.register_definition(workflow), self._storage.submit(new)
        )
        if not created:
            return None
        return await self.run_new(workflow, new, arguments, asked_at=asked_at)

    async def run_new(
        self, workflow: AnyWorkflow, new: NewInstance, arguments: dict[str, Any], *, asked_at: float
    ) -> Outcome | Parked:
        """Run an instance that was just stored, leased to this worker since ``asked_at``."""
        if new.lease is None:
            raise ValueError(f"{new.instance_id} is not leased to this worker")
        hooks = self._services.hooks
        if hooks.observer is not None:
            await hooks.call("on_workflow_start", new.instance_id, new.workflow_name, loads(new.input_data))
        run = Run(new.lease, workflow_name=workflow.name, services=self._services)
        run.trust_lease_from(asked_at)
        return await self._drive(self._execute(run, workflow, arguments))

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
        answer = await self._claim(instance_id)
        if isinstance(answer, NotClaimable):
            raise LockNotAcquiredError(instance_id)
        task = self.spawn(self.run_claimed(answer))
        _raise_error(await asyncio.shield(task))

    async def resume_by_name(self, instance_id: str, workflow_name: str) -> None:
        """Run an instance of a workflow given by name; otherwise as :meth:`Workflow.resume`."""
        workflow = self.find(workflow_name)
        if workflow is None:
            names = sorted(get_all_workflows())
            raise ValueError(
                f"Workflow {workflow_name!r} not found in workflow registry. Available workflows: {names}"
            )
        await self.resume(workflow, instance_id)

    async def _claim(self, instance_id: str, *, token: int | None = None) -> ClaimedInstance | NotClaimable:
        return await self._storage.submit(
            InstanceClaimed(self._services.worker_id, instance_id, self._options.lease_seconds, token)
        )

    def wake(self) -> None:
        """Have the worker look for due instances now."""
        self._wake_in(0.0)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run something in the background that the engine keeps and drains."""
        with activated(self):
            task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def run_claimed(self, claimed: ClaimedInstance) -> Outcome | Parked:
        """Go on with an instance under a fresh lease: resident if possible, else from its history."""
        asked_at = monotonic()
        try:
            execution = await self._wake_resident(claimed) or await self._replay(claimed)
        except Exception as error:  # noqa: BLE001 - an instance that cannot be loaded is set aside, whatever the cause
            return await self._set_aside(claimed, error)
        execution.run.trust_lease_from(asked_at)
        return await self._drive(execution, attempts=claimed.attempts)

    async def _wake_resident(self, claimed: ClaimedInstance) -> Execution | None:
        execution = self._residents.take(claimed.lease.instance_id)
        if execution is None:
            return None
        if execution.run.stopped or execution.run.lease.token + 1 != claimed.lease.token:
            self._dismiss(execution)
            return None
        execution.run.take_lease(claimed.lease)
        try:
            execution.run.note_registered(await self._storage.load_waits(claimed.lease.instance_id))
        except StorageError:
            self._dismiss(execution)
            raise
        return execution

    async def _replay(self, claimed: ClaimedInstance) -> Execution:
        workflow = self.find(claimed.workflow_name)
        if workflow is None:
            raise LookupError(f"Workflow {claimed.workflow_name!r} is not known to this worker")
        instance_id = claimed.lease.instance_id
        history, waits = await asyncio.gather(
            self._storage.load_history(instance_id), self._storage.load_waits(instance_id)
        )
        arguments = workflow.codec.load_kwargs_text(claimed.input_data, claimed.input_types)
        run = Run(
            claimed.lease,
            workflow_name=claimed.workflow_name,
            services=self._services,
            history=history,
            waits=waits,
        )
        return self._execute(run, workflow, arguments)

    async def _set_aside(self, claimed: ClaimedInstance, error: Exception) -> Outcome:
        try:
            await self._settlement.set_aside(claimed.lease, error, attempts=claimed.attempts)
        except StorageError:
            logger.warning("The lease of %s was not handed back; it expires", claimed.lease.instance_id)
        return Stopped(error)

    def _execute(self, run: Run, workflow: AnyWorkflow, arguments: dict[str, Any]) -> Execution:
        with activated(self):
            execution = Execution(run, workflow, arguments)
        run.regain_lease = lambda: self._regain(execution)
        execution.when_body_ends(lambda: self._end_parked(execution))
        return execution

    async def _drive(self, execution: Execution, *, attempts: int = 0) -> Outcome | Parked:
        run = execution.run
        execution.driver = asyncio.current_task()
        self._running[run.instance_id] = execution
        self.leases.hold(run)
        if self._draining:
            run.stop(ShuttingDownError(run.instance_id))
        try:
            outcome = await execution.until_settled()
            # What is being handed back is not to be renewed: that would look like a loss.
            self.leases.drop(run)
            settled = await self._settlement.settle(execution, outcome, attempts=attempts)
        finally:
            self.leases.drop(run)
            if self._running.get(run.instance_id) is execution:
                del self._running[run.instance_id]
        if isinstance(settled, Parked):
            self._keep(execution, settled)
        elif isinstance(settled, Stopped):  # a body that was about to park is still there
            run.stop(settled.reason)
            self._dismiss(execution)
        return settled

    def _keep(self, execution: Execution, parked: Parked) -> None:
        if self._draining:
            self._dismiss(execution)
            return
        for surplus in self._residents.keep(execution):
            self._dismiss(surplus)
        if parked.due_in is not None:
            self._wake_in(parked.due_in)

    def _dismiss(self, execution: Execution) -> None:
        """End a resident execution that another run replaces."""
        execution.run.stop(LockLostError(execution.run.instance_id))
        self.spawn(execution.end())

    async def _regain(self, execution: Execution) -> None:
        """Take the lease again for a parked body that moved on by itself."""
        if execution.regaining is None or execution.regaining.done():
            execution.regaining = self.spawn(self._take_lease_again(execution))
        # Shielded: an operation that is cancelled must not leave a lease that nobody drives.
        await asyncio.shield(execution.regaining)

    def _end_parked(self, execution: Execution) -> None:
        """A body that ends while it is parked is settled now, not when its wait is due."""
        run = execution.run
        if not run.leased and not run.ended:
            self.spawn(self._regain(execution))

    async def _take_lease_again(self, execution: Execution) -> None:
        run = execution.run
        if execution.driver is not None:
            await asyncio.wait({execution.driver})
        if run.leased or run.ended:
            return
        self._residents.take(run.instance_id)  # from here on nobody else wakes it, or has it make room
        asked_at = monotonic()
        try:
            answer = await self._claim(run.instance_id, token=run.lease.token)
            if isinstance(answer, NotClaimable):
                self._dismiss(execution)
                return
            run.take_lease(answer.lease)
            run.trust_lease_from(asked_at)
            run.note_registered(await self._storage.load_waits(run.instance_id))
        except StorageError as error:
            run.stop(error)
        if run.has_lease():
            self.spawn(self._drive(execution))
        else:
            self._dismiss(execution)

    async def drain(self, timeout: float) -> None:
        """Refuse new work, let runs reach their next step, hand back every lease.

        What has not reached a step after ``timeout`` seconds is cancelled.
        """
        self._draining = True
        self.creation.closed = True
        for execution in self._residents.take_all():
            self._dismiss(execution)
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


def _raise_error(outcome: Outcome | Parked | None) -> None:
    match outcome:
        case Failed(error):
            raise error
        case Stopped(reason):
            raise reason
        case _:
            return
