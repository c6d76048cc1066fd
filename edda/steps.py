"""The one implementation of a durable operation: recorded? return it; else do it and record it."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from edda.branches import current_branch, ids_here
from edda.effects import behind
from edda.exceptions import NonDeterminismError, StoredValueError, WorkflowCancelledException, WorkflowSignal
from edda.held_steps import ENDS, GIVEN_UP_AT_MOST, HeldStep
from edda.in_flight import InFlight
from edda.refusal import retrieve_signal
from edda.registrations import is_inside_compensation
from edda.run import Run
from edda.scope import activity_scope
from edda.storage.records import HistoryRecord
from edda.unit_of_work import current_unit

T_co = TypeVar("T_co", covariant=True)

# A block of the library is entered through the standard library.
_NOT_OF_THE_USER = (str(Path(__file__).parent), contextlib.__file__)


@dataclass(frozen=True, slots=True)
class StepCall:
    """An operation that was called: its id, whether the run had used it before, and the line of the call.

    In a task of its own, as ``gather`` makes them, the call is not on the stack any more.
    """

    step_id: str
    reused: bool = False
    place: str = ""


def call_step(run: Run, base: str, given: str | None = None) -> StepCall:
    """Take the id of an operation at the moment it is called."""
    ids = ids_here(run)
    if given is None:
        return StepCall(ids.take(base), place=place_in_user_code())
    # Inside an activity it is one of that activity: another call of it may give the same id.
    step_id = ids.prefixed(given)
    if activity_scope(run) is None and (step_id in ENDS or is_inside_compensation(step_id)):
        raise ValueError(f"Activity ID {given!r} is an id that the library itself uses")
    return StepCall(step_id, reused=not ids.take_given(step_id), place=place_in_user_code())


class Operation(Protocol[T_co]):
    """What differs between durable operations."""

    def describe(self) -> str:
        """The operation in words, for a reader of an error."""
        ...

    def matches(self, record: HistoryRecord) -> bool:
        """Whether the recorded step is one of this kind and name."""
        ...

    async def restore(self, run: Run, record: HistoryRecord) -> T_co:
        """Return or raise what is recorded."""
        ...

    async def perform(self, run: Run) -> T_co:
        """Do it, record it, return or raise the outcome."""
        ...


class ActivityMustWait(WorkflowSignal):
    """Ends an attempt that reached a wait: the workflow waits, then the activity begins anew."""

    def __init__(self, operation: Operation[object]) -> None:
        super().__init__("an activity waits")
        self.operation = operation


def check_may_wait(run: Run, operation: Operation[object]) -> None:
    """Keep a wait out of transactions: they would stay open for as long as it takes."""
    if current_unit() is None:
        return
    if activity_scope(run) is not None:
        raise ActivityMustWait(operation)
    raise RuntimeError(
        f"{operation.describe()} would wait inside ctx.transaction(), which would keep the transaction open; "
        "wait before or after the block"
    )


async def perform(run: Run, call: StepCall, operation: Operation[T_co]) -> T_co:
    """Return the recorded outcome of the operation, or perform it."""
    try:
        return await _perform(run, call, operation)
    except WorkflowSignal:
        retrieve_signal(asyncio.current_task())
        raise


async def _perform(run: Run, call: StepCall, operation: Operation[T_co]) -> T_co:
    # Looked at here first, as below: every step comes by, and a coroutine that returns at once is not free.
    if run.ended:
        await run.check()
    in_body = activity_scope(run) is None
    if in_body and run.cancelled:
        await run.check_cancelled()
    if call.reused:
        raise ValueError(f"Activity ID {call.step_id!r} is already used in this workflow run")
    if in_body:
        run.turnstile.note_caller()
    record = run.journal.recorded(call.step_id)
    if record is None:
        return await _perform_anew(run, call, operation, in_body=in_body)
    if not operation.matches(record):
        run.stop(_mismatch(run, call, operation, record))
        raise run.signal()
    return await _enter_recorded(run, call, operation, record, in_body=in_body)


async def _enter_recorded(
    run: Run, call: StepCall, operation: Operation[T_co], record: HistoryRecord, *, in_body: bool
) -> T_co:
    """Restore the outcome, hooks included, and wait for its turn: only then the body sees it."""
    if not in_body:
        return await _restore(run, operation, record)
    run.turnstile.claim(call.step_id)
    try:
        outcome = await _restore(run, operation, record)
    except Exception:
        await _pass_recorded(run, call)
        raise
    else:
        await _pass_recorded(run, call)
        return outcome
    finally:
        run.turnstile.leave(call.step_id)


async def _pass_recorded(run: Run, call: StepCall) -> None:
    if not (run.tasks.is_body() and run.turnstile.admit_at_once(call.step_id)):
        await run.turnstile.pass_recorded(call.step_id)
    if run.ended:
        await run.check()


async def _restore(run: Run, operation: Operation[T_co], record: HistoryRecord) -> T_co:
    try:
        return await operation.restore(run, record)
    except StoredValueError as error:  # its class is gone: the code does not match the history
        stopped_by = StoredValueError(
            f"Step {record.activity_id!r} of instance {run.instance_id} cannot be restored: {error}. "
            "The instance is set aside, not failed; it goes on when code is deployed that has the class and "
            "accepts the value"
        )
        stopped_by.__cause__ = error
        run.stop(stopped_by)
        raise run.signal() from error


async def _perform_anew(run: Run, call: StepCall, operation: Operation[T_co], *, in_body: bool) -> T_co:
    try:
        if in_body:
            await pass_replay(run)
            # A block that is replayed judges by itself what is new in it.
            if run.turnstile.has_unreached and current_unit() is None:
                return await _perform_behind_gate(run, call, operation)
        run.journal.replaying = False
        async with InFlight(run):
            return await (_enter_anew(run, call, operation) if in_body else operation.perform(run))
    except asyncio.CancelledError:
        run.waits.give_up(call.step_id)
        if run.tasks.is_body():
            run.journal.given_up = [*run.journal.given_up[-GIVEN_UP_AT_MOST:], call.step_id]
        raise


async def _perform_behind_gate(run: Run, call: StepCall, operation: Operation[T_co]) -> T_co:
    with behind(gate_of(run, call, operation.describe())):
        async with InFlight(run):
            return await _enter_anew(run, call, operation)


async def _enter_anew(run: Run, call: StepCall, operation: Operation[T_co]) -> T_co:
    """Perform it, what the user has following its commit included, and wait for its turn."""
    run.turnstile.expect(call.step_id)
    try:
        outcome = await _told_of_cancellation(run, operation)
    except Exception:
        await _enter(run, call)
        raise
    else:
        await _enter(run, call)
        return outcome
    finally:
        run.turnstile.leave(call.step_id)


async def _enter(run: Run, call: StepCall) -> None:
    previous = await run.turnstile.enter(call.step_id)
    unit = current_unit()
    if unit is not None:
        unit.entered[call.step_id] = previous


async def _told_of_cancellation(run: Run, operation: Operation[T_co]) -> T_co:
    """Perform it; whatever its outcome, the body is told if the instance was cancelled meanwhile."""
    try:
        outcome = await operation.perform(run)
    except WorkflowCancelledException:
        raise
    except Exception as error:
        if run.cancelled:
            raise _cancelled_during(run, operation) from error
        raise
    if run.cancelled:
        raise _cancelled_during(run, operation)
    return outcome


def _cancelled_during(run: Run, operation: Operation[object]) -> WorkflowCancelledException:
    name = getattr(operation, "name", None) or operation.describe()
    return WorkflowCancelledException(f"Workflow {run.instance_id} was cancelled during {name} execution")


async def pass_replay(run: Run) -> None:
    """Return when something that is not recorded may begin: all that is recorded has returned."""
    branch = current_branch(run)
    if branch is not None:
        await branch.pass_hold()
    await run.turnstile.pass_unrecorded()
    if run.ended:
        await run.check()


def gate_of(run: Run, call: StepCall, attempted: str) -> HeldStep:
    """What holds a step back that is not recorded, while the body has not reached all that is."""
    branches = []
    branch = current_branch(run)
    while branch is not None:
        if branch.prefix in run.journal.branches:
            branches.append(branch.prefix)
        branch = branch.parent
    return HeldStep(run, call.step_id, attempted, call.place or place_in_user_code(), branches)


def _mismatch(
    run: Run, call: StepCall, operation: Operation[object], record: HistoryRecord
) -> NonDeterminismError:
    return NonDeterminismError(
        f"Workflow {run.workflow_name!r} does not match the history of instance {run.instance_id}: "
        f"step {call.step_id!r} is recorded as {record.event_type} {record.event_data[:200]}, "
        f"but the code attempts {operation.describe()} at {call.place or place_in_user_code()}. "
        "The instance is set aside, not failed; it goes on when the matching code is deployed."
    )


def place_in_user_code() -> str:
    """File and line of the call into the library."""
    frame = sys._getframe()  # noqa: SLF001 - the only way to the caller's line without a traceback
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_NOT_OF_THE_USER):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
