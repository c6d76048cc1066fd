"""One resident run of a workflow function, until it ends or can park."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from edda.clock import monotonic, wait
from edda.context import WorkflowContext, current_context
from edda.exceptions import (
    EddaError,
    NonDeterminismError,
    RecurException,
    ShuttingDownError,
    StorageError,
    WorkflowSignal,
)
from edda.hooks import stop_observing
from edda.run import Run
from edda.storage.message_writes import MessageTaken
from edda.storage.records import HistoryRecord
from edda.storage.writes import NewWait, Verdict, WaitsRegistered
from edda.types import JSONObject, JSONValue, Status
from edda.workflow import Workflow, forget_start_ids

# Turns of the event loop after which a body with open waits is taken to have nothing else
# to do. A body that does move on later regains its lease, so this is only thrift.
_TURNS_BEFORE_PARKING = 10
# How often a run with other things in flight looks for messages that other processes publish.
_LOOK_AGAIN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Completed:
    """The function returned."""

    result: Any


@dataclass(frozen=True, slots=True)
class Failed:
    """The function raised."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The instance was cancelled, however its function took it."""


@dataclass(frozen=True, slots=True)
class Recurred:
    """The function asked for a successor with these arguments."""

    kwargs: dict[str, Any]


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


Outcome = Completed | Failed | Cancelled | Recurred | Parked | Stopped


@dataclass(frozen=True, slots=True)
class Ending:
    """How an instance is going to end once it is rolled back.

    ``failures`` are those before this run. An ``announced`` end was told to the hooks before.
    """

    status: Status
    output: JSONObject
    error: BaseException | None = None
    failures: tuple[JSONObject, ...] = ()
    announced: bool = False

    def output_with(self, failures: Sequence[JSONObject]) -> JSONObject:
        """The output, naming the compensations that have failed."""
        errors: list[JSONValue] = [*self.failures, *failures]
        return {**self.output, "compensation_errors": errors} if errors else self.output


class Execution:
    """The coroutine of one run in a task of its own, with what it is waiting for.

    With an ``ending`` the function is not the user's, but compensates what that has done.
    """

    def __init__(
        self,
        run: Run,
        workflow: Workflow[Any, Any],
        arguments: dict[str, Any],
        ending: Ending | None = None,
    ) -> None:
        self.run = run
        self.workflow = workflow
        self.ending = ending
        # A rollback is no workflow that could begin anew.
        run.turnstile.when_idle = _driver_of(run)
        self.context = WorkflowContext.of_run(run, workflow.codec if ending is None else None)
        self.regaining: asyncio.Task[None] | None = None
        self.undecided: asyncio.Future[None] | None = None
        """Done when it is known whether the run, which has given up its lease, has one all the same."""
        self.driver: asyncio.Task[Any] | None = None
        variables = contextvars.copy_context()
        variables.run(current_context.set, self.context)
        variables.run(forget_start_ids)
        variables.run(run.tasks.enter)
        variables.run(stop_observing)
        self._task: asyncio.Task[Any] = asyncio.get_running_loop().create_task(
            self._body(arguments), context=variables, name=f"edda run {run.instance_id}"
        )
        run.tasks.begin(self._task)
        self._task.add_done_callback(lambda _: run.changed.set())

    def when_body_ends(self, call: Callable[[], None]) -> None:
        """Call this function when the body has returned or raised, whoever drives it."""
        self._task.add_done_callback(lambda _: call())

    async def _body(self, arguments: dict[str, Any]) -> Any:
        return await self.workflow.func(self.context, **arguments)

    async def until_settled(self) -> Outcome:
        """Drive the run until its body has ended or only waits are left."""
        run = self.run
        while not self._is_over:
            run.changed.clear()
            run.waits.fire_due()
            if run.stopped:
                await self._let_body_end()
            elif run.turnstile.holds_any and run.in_flight == 0:
                await self._until_changed()
            elif not run.only_waits:
                await self._register_waits()
                await self._until_changed()
            elif await self._stays_idle():
                return self._parked()
        return await self._ended()

    async def _until_changed(self) -> None:
        run = self.run
        due = run.waits.next_due()
        # Nobody tells a run that holds its lease of messages from other processes.
        look_at = monotonic() + _LOOK_AGAIN_SECONDS if run.waits.for_messages else None
        until = min((at for at in (due, look_at) if at is not None), default=None)
        if until is None:
            await run.changed.wait()
            return
        await wait(run.changed, max(0.0, until - monotonic()))
        if until <= monotonic():
            run.waits.fire_due()
            run.waits.look_again()

    async def _stays_idle(self) -> bool:
        for _ in range(_TURNS_BEFORE_PARKING):
            await asyncio.sleep(0)
            if self._task.done() or self.run.stopped or not self.run.only_waits:
                return False
        return True

    def _parked(self) -> Parked:
        run = self.run
        if self.ending is not None:
            status = Status.COMPENSATING
        else:
            status = Status.WAITING_FOR_TIMER if run.waits.only_for_timers else Status.WAITING_FOR_MESSAGE
        return Parked(status, next(iter(run.waits.pending)), run.waits.to_park())

    async def _register_waits(self) -> None:
        """Fix the due times of waits that are reached while something else is in flight."""
        run = self.run
        waits = run.waits.unregistered()
        if not waits:
            return
        try:
            verdict = await run.services.storage.submit(
                WaitsRegistered(run.lease, waits), within=run.lease_left()
            )
            if verdict is not Verdict.ACCEPTED:
                run.obey(verdict)
                return
            run.waits.note_registered(await run.services.storage.load_waits(run.instance_id))
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
        while not self._is_over:
            run.changed.clear()
            await run.changed.wait()

    @property
    def _is_over(self) -> bool:
        """Whether the body has ended, or takes no notice of the end of its run."""
        return self._task.done() or self.run.refusals.ignored

    async def _ended(self) -> Outcome:
        run = self.run
        run.close()
        # An effect that happens is recorded, although the body did not wait for it.
        while run.in_flight > 0 and not run.refusals.ignored:
            run.changed.clear()
            await run.changed.wait()
        error = self._error() if self._task.done() else None
        if run.stopped_by is not None:
            return Stopped(run.stopped_by)
        if run.cancelled:
            return Cancelled()
        leftovers = run.journal.leftovers()
        if leftovers:
            return Stopped(self._leftover_error(leftovers, error))
        if error is None:
            return Completed(self._task.result())
        return _raised(error)

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

    def doubt(self) -> None:
        """From here on until :meth:`decide` nobody knows whether the run is going to have a lease."""
        self.undecided = asyncio.get_running_loop().create_future()

    def decide(self) -> None:
        """It is known now."""
        undecided, self.undecided = self.undecided, None
        if undecided is not None:
            undecided.set_result(None)

    @contextlib.contextmanager
    def in_doubt(self) -> Iterator[None]:
        """Both around a block."""
        self.doubt()
        try:
            yield
        finally:
            self.decide()

    def only_message(self) -> MessageTaken | None:
        """The write that takes the message for which alone the run waits; None if it waits for more."""
        run = self.run
        if self.ending is not None or run.ended or run.cancelled:
            return None
        return run.waits.only_message()

    def look_for_messages(self, channels: AbstractSet[str]) -> None:
        """Messages were published on these channels: what waits for them looks again.

        Not while the run parks: the write that parks it looks by itself, and ends the lease.
        """
        run = self.run
        if not run.has_lease():
            return
        run.subscriptions.drained -= channels - run.waits.awaited_channels()
        if run.waits.look_again(channels):
            run.changed.set()

    def cancel(self) -> None:
        """Cancel what the body is doing; its current step is not recorded."""
        self._task.cancel()

    async def end(self) -> None:
        """See a stopped body out, after nothing drives it any more."""
        while not self._is_over:
            self.run.changed.clear()
            await self._let_body_end()
        if self._task.done():
            self._error()


def _driver_of(run: Run) -> Callable[[], None]:
    """What wakes the driver when no outcome is on its way into the body: it may have to park the run.

    A body that waits for nothing just goes on, step after step. Without the run, to which the
    turnstile must not lead back.
    """
    waits, changed = run.waits, run.changed

    def wake() -> None:
        if waits.pending:
            changed.set()

    return wake


def _raised(error: BaseException) -> Failed | Recurred:
    """How a body that raised has ended; a task group wraps whatever is raised in it."""
    recurs: BaseException | None = error
    if isinstance(error, BaseExceptionGroup):
        recurs, others = error.split(RecurException)
        if others is not None:
            return Failed(_recordable(others))
    while isinstance(recurs, BaseExceptionGroup):
        recurs = recurs.exceptions[0]
    return Recurred(recurs.kwargs) if isinstance(recurs, RecurException) else Failed(_recordable(error))


def _recordable(error: BaseException) -> BaseException:
    """What is no exception ends the workflow like one: it must not keep the instance from ending."""
    if isinstance(error, Exception | WorkflowSignal) or _has_signal(error):
        return error
    failure = EddaError(f"The workflow raised {error!r}, which is no Exception")
    failure.__cause__ = error
    return failure


def _has_signal(error: BaseException) -> bool:
    return isinstance(error, BaseExceptionGroup) and error.subgroup(WorkflowSignal) is not None


def name_instance(error: BaseException, instance_id: str) -> None:
    """Say in an error of which instance it is."""
    with contextlib.suppress(AttributeError):  # an exception class that takes none, as a frozen dataclass
        error.instance_id = instance_id  # type: ignore[attr-defined]
    with contextlib.suppress(AttributeError):
        error.add_note(f"Edda workflow instance: {instance_id}")
