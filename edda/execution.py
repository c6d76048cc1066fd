"""One resident run of a workflow function, until it ends or can park."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edda.clock import monotonic
from edda.context import WorkflowContext, current_context
from edda.exceptions import EddaError, NonDeterminismError, ShuttingDownError, StorageError
from edda.run import Run
from edda.storage.records import HistoryRecord
from edda.storage.writes import NewWait, Verdict, WaitsRegistered
from edda.types import Status
from edda.workflow import Workflow, forget_start_ids

# Turns of the event loop after which a body with open waits is taken to have nothing else
# to do. A body that does move on later regains its lease, so this is only thrift.
_TURNS_BEFORE_PARKING = 10


@dataclass(frozen=True, slots=True)
class Completed:
    """The function returned."""

    result: Any


@dataclass(frozen=True, slots=True)
class Failed:
    """The function raised."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class Parked:
    """Nothing but waits is left."""

    status: Status
    current_activity_id: str
    waits: tuple[NewWait, ...]


@dataclass(frozen=True, slots=True)
class Stopped:
    """The run ended, the instance did not: lease lost, code changed, database away, shutdown."""

    reason: Exception


Outcome = Completed | Failed | Parked | Stopped


class Execution:
    """The coroutine of one run in a task of its own, with what it is waiting for."""

    def __init__(self, run: Run, workflow: Workflow[Any, Any], arguments: dict[str, Any]) -> None:
        self.run = run
        self.workflow = workflow
        self.context = WorkflowContext.of_run(run)
        self.regaining: asyncio.Task[None] | None = None
        self.driver: asyncio.Task[Any] | None = None
        variables = contextvars.copy_context()
        variables.run(current_context.set, self.context)
        variables.run(forget_start_ids)
        self._task: asyncio.Task[Any] = asyncio.get_running_loop().create_task(
            self._body(arguments), context=variables, name=f"edda run {run.instance_id}"
        )
        self._task.add_done_callback(lambda _: run.changed.set())

    def when_body_ends(self, call: Callable[[], None]) -> None:
        """Call this function when the body has returned or raised, whoever drives it."""
        self._task.add_done_callback(lambda _: call())

    async def _body(self, arguments: dict[str, Any]) -> Any:
        return await self.workflow.func(self.context, **arguments)

    async def until_settled(self) -> Outcome:
        """Drive the run until its body has ended or only waits are left."""
        run = self.run
        while not self._task.done():
            run.changed.clear()
            run.fire_due_waits()
            if run.stopped:
                await self._let_body_end()
            elif not run.only_waits:
                await self._register_waits()
                await self._until_changed()
            elif await self._stays_idle():
                return self._parked()
        return await self._ended()

    async def _until_changed(self) -> None:
        due = self.run.next_due()
        if due is None:
            await self.run.changed.wait()
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.run.changed.wait(), max(0.0, due - monotonic()))

    async def _stays_idle(self) -> bool:
        for _ in range(_TURNS_BEFORE_PARKING):
            await asyncio.sleep(0)
            if self._task.done() or self.run.stopped or not self.run.only_waits:
                return False
        return True

    def _parked(self) -> Parked:
        run = self.run
        status = Status.WAITING_FOR_TIMER if run.waits_only_for_timers() else Status.WAITING_FOR_MESSAGE
        return Parked(status, next(iter(run.pending)), run.unregistered())

    async def _register_waits(self) -> None:
        """Fix the due times of waits that are reached while something else is in flight."""
        run = self.run
        waits = run.unregistered()
        if not waits:
            return
        try:
            verdict = await run.services.storage.submit(
                WaitsRegistered(run.lease, waits), within=run.lease_left()
            )
            if verdict is Verdict.LEASE_LOST:
                run.lose_lease()
                return
            run.note_registered(await run.services.storage.load_waits(run.instance_id))
        except StorageError as error:
            run.stop(error)

    async def _let_body_end(self) -> None:
        """The run was stopped: wait for what is in flight, then see the body out."""
        run = self.run
        if run.in_flight > 0 or isinstance(run.stopped_by, ShuttingDownError):
            await run.changed.wait()
            return
        for _ in range(_TURNS_BEFORE_PARKING):
            await asyncio.sleep(0)
            if self._task.done() or run.in_flight > 0:
                return
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _ended(self) -> Outcome:
        run = self.run
        run.close()
        while run.in_flight > 0:  # an effect that happens is recorded, although the body did not wait for it
            run.changed.clear()
            await run.changed.wait()
        error = self._error()
        if run.stopped_by is not None:
            return Stopped(run.stopped_by)
        leftovers = run.journal.leftovers()
        if leftovers:
            return Stopped(self._leftover_error(leftovers, error))
        if error is None:
            return Completed(self._task.result())
        return Failed(error)

    def _error(self) -> BaseException | None:
        if not self._task.cancelled():
            return self._task.exception()
        name = self.workflow.name
        return EddaError(f"Workflow {name!r} let an asyncio.CancelledError of its own body through")

    def _leftover_error(
        self, leftovers: list[HistoryRecord], error: BaseException | None
    ) -> NonDeterminismError:
        first = leftovers[0]
        ending = "returned" if error is None else f"raised {error!r}"
        code = self.workflow.func.__code__
        problem = NonDeterminismError(
            f"Workflow {self.workflow.name!r} at {code.co_filename}:{code.co_firstlineno} {ending}, but the "
            f"history of instance {self.run.instance_id} holds {len(leftovers)} further recorded "
            f"step(s), first {first.activity_id!r} ({first.event_type}). The code does not match the "
            "history; the instance is set aside, not failed, and goes on when the matching code is deployed."
        )
        problem.__cause__ = error
        return problem

    def cancel(self) -> None:
        """Cancel what the body is doing; its current step is not recorded."""
        self._task.cancel()

    async def end(self) -> None:
        """See a stopped body out, after nothing drives it any more."""
        while not self._task.done():
            self.run.changed.clear()
            await self._let_body_end()
        self._error()
