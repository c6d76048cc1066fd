"""Starting instances: on their own, as a step of a body, or together with a commit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from edda.children import ChildStart, start_with_commit
from edda.clock import monotonic, now
from edda.context import current_context
from edda.creation import AnyWorkflow, Creation, definition_of
from edda.execution import Failed, Outcome, Stopped
from edda.hooks import is_observing
from edda.run import Run, Services
from edda.scope import activity_scope
from edda.steps import call_step, perform
from edda.storage.records import ClaimedInstance
from edda.storage.writes import InstanceClaimed, NewInstance, NotClaimable, Parked
from edda.types import Status
from edda.unit_of_work import current_unit

# A child that is there already is looked at so often until it has come as far as its first run would have.
_FIRST_LOOK = 0.01
_LONGEST_PAUSE = 0.5
_UNDER_WAY = (Status.RUNNING, Status.COMPENSATING)


class RunNew(Protocol):
    """What the engine offers: running an instance that was just stored, leased since ``asked_at``."""

    def __call__(
        self, workflow: AnyWorkflow, new: NewInstance, arguments: dict[str, Any], *, asked_at: float
    ) -> Coroutine[Any, Any, Outcome | Parked]: ...


class RunClaimed(Protocol):
    """What the engine offers: going on with an instance under a fresh lease."""

    def __call__(self, claimed: ClaimedInstance) -> Coroutine[Any, Any, Outcome | Parked]: ...


class Starting:
    """Starts instances of one engine."""

    def __init__(
        self,
        services: Services,
        creation: Creation,
        *,
        spawn: Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]],
        run_new: RunNew,
        run_claimed: RunClaimed,
    ) -> None:
        self._services = services
        self._storage = services.storage
        self._creation = creation
        self._spawn = spawn
        self._run_new = run_new
        self._run_claimed = run_claimed

    async def start(
        self,
        workflow: AnyWorkflow,
        arguments: dict[str, Any],
        lock_timeout: float | None,
        *,
        instance_id: str | None,
    ) -> str:
        """Start an instance and wait until it completed or parked; see :meth:`Workflow.start`.

        In the body of a workflow of this engine it is a recorded step. In an activity or
        a transaction block the instance is created with the commit and runs after it.
        """
        context = None if is_observing() else current_context.get()
        if context is not None and context.run.services is self._services and context.run.stopped:
            await context.run.check()  # else an activity would fail because its worker stops
        if instance_id is None and context is not None and context.run.services is self._services:
            unit, in_body = current_unit(), activity_scope(context.run) is None
            if in_body:
                return await self._start_child(context.run, workflow, arguments, lock_timeout)
            if unit is not None:
                new, _ = self._creation.prepare(workflow, arguments, lock_timeout=lock_timeout, leased=False)
                start_with_commit(unit, definition_of(workflow), new)
                return new.instance_id
        new, loaded = self._creation.prepare(
            workflow, arguments, lock_timeout=lock_timeout, leased=True, instance_id=instance_id
        )
        raise_error(await self._run_in_background(workflow, new, loaded))
        return new.instance_id

    async def _run_in_background(
        self, workflow: AnyWorkflow, new: NewInstance, arguments: dict[str, Any]
    ) -> Outcome | Parked | None:
        # The run is a task of its own: a caller that is cancelled leaves it running.
        return await asyncio.shield(self._spawn(self._create_and_run(workflow, new, arguments)))

    async def _start_child(
        self, parent: Run, workflow: AnyWorkflow, arguments: dict[str, Any], lock_timeout: float | None
    ) -> str:
        unit = current_unit()
        # Wrong arguments are told before anything happens.
        self._creation.prepare(workflow, arguments, leased=False)

        async def start(child_id: str) -> Outcome | Parked | None:
            new, loaded = self._creation.prepare(
                workflow, arguments, lock_timeout=lock_timeout, leased=unit is None, instance_id=child_id
            )
            if unit is None:
                return await self._run_in_background(workflow, new, loaded)
            start_with_commit(unit, definition_of(workflow), new)
            return Parked(0.0)

        async def go_on(child_id: str) -> Outcome | Parked | None:
            pause = _FIRST_LOOK
            while (claimed := await self._claim_unsettled(child_id, lock_timeout)) is NotClaimable.LEASED:
                await parent.check()
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
            if isinstance(claimed, ClaimedInstance):
                return await asyncio.shield(self._spawn(self._run_claimed(claimed)))
            return None

        call = call_step(parent, f"start_{workflow.name}")
        step = ChildStart(call.step_id, workflow.name, storage=self._storage, start=start, go_on=go_on)
        return await perform(parent, call, step)

    async def _claim_unsettled(
        self, child_id: str, lock_timeout: float | None
    ) -> ClaimedInstance | NotClaimable | None:
        """The child, to be run here and now; None if it has ended or waits, or is to be tried again later."""
        child = await self._storage.load_instance(child_id)
        if child is None or child.status not in _UNDER_WAY:
            return None
        if child.locked_by is None and child.due_at is not None and child.due_at > now():
            return None
        lease_seconds = self._creation.lease_seconds(lock_timeout)
        return await self._storage.submit(InstanceClaimed(self._services.worker_id, child_id, lease_seconds))

    async def _create_and_run(
        self, workflow: AnyWorkflow, new: NewInstance, arguments: dict[str, Any]
    ) -> Outcome | Parked | None:
        asked_at = monotonic()
        if self._creation.is_registered(workflow):
            created = await self._storage.submit(new)
        else:  # both are submitted at once, so that they share a commit
            _, created = await asyncio.gather(
                self._creation.register_definition(workflow), self._storage.submit(new)
            )
        if not created:
            return None
        return await self._run_new(workflow, new, arguments, asked_at=asked_at)


def raise_error(outcome: Outcome | Parked | None) -> None:
    """Tell a caller how the run ended that it waited for: raise what it failed with or was stopped by."""
    match outcome:
        case Failed(error):
            raise error
        case Stopped(reason):
            raise reason
        case _:
            return
