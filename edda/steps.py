"""The one implementation of a durable operation: recorded? return it; else do it and record it."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from edda.branches import current_branch, ids_here
from edda.exceptions import NonDeterminismError, StoredValueError, WorkflowSignal
from edda.run import Run
from edda.scope import activity_scope
from edda.storage.records import HistoryRecord
from edda.unit_of_work import current_unit

T_co = TypeVar("T_co", covariant=True)

_PACKAGE = str(Path(__file__).parent)


@dataclass(frozen=True, slots=True)
class StepCall:
    """An operation that was called: its id, and whether this run had used the id before."""

    step_id: str
    reused: bool = False


def call_step(run: Run, base: str, given: str | None = None) -> StepCall:
    """Take the id of an operation at the moment it is called."""
    ids = ids_here(run)
    if given is None:
        return StepCall(ids.take(base))
    # Inside an activity it is one of that activity: another call of it may give the same id.
    step_id = ids.prefixed(given)
    return StepCall(step_id, reused=not ids.take_given(step_id))


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
    run.check()
    if call.reused:
        raise ValueError(f"Activity ID {call.step_id!r} is already used in this workflow run")
    in_body = activity_scope(run) is None
    if in_body:
        run.turnstile.note_caller()
    record = run.journal.recorded(call.step_id)
    if record is None:
        return await _perform_anew(run, call, operation, in_body=in_body)
    if not operation.matches(record):
        run.stop(_mismatch(run, call, operation, record))
        raise run.signal()
    if in_body:
        await run.turnstile.pass_recorded(call.step_id)
    run.check()
    try:
        return await operation.restore(run, record)
    except StoredValueError as error:  # its class is gone: the code does not match the history
        run.stop(error)
        raise run.signal() from error


async def _perform_anew(run: Run, call: StepCall, operation: Operation[T_co], *, in_body: bool) -> T_co:
    try:
        if in_body:
            await pass_replay(run)
        run.journal.replaying = False
        async with run.operation():
            return await operation.perform(run)
    except asyncio.CancelledError:
        run.give_up_wait(call.step_id)
        raise


async def pass_replay(run: Run) -> None:
    """Return when something that is not recorded may begin: all that is recorded has returned."""
    branch = current_branch(run)
    if branch is not None:
        await branch.pass_hold()
    await run.turnstile.pass_unrecorded()
    run.check()


def _mismatch(
    run: Run, call: StepCall, operation: Operation[object], record: HistoryRecord
) -> NonDeterminismError:
    return NonDeterminismError(
        f"Workflow {run.workflow_name!r} does not match the history of instance {run.instance_id}: "
        f"step {call.step_id!r} is recorded as {record.event_type} {record.event_data[:200]}, "
        f"but the code attempts {operation.describe()} at {place_in_user_code()}. "
        "The instance is set aside, not failed; it goes on when the matching code is deployed."
    )


def place_in_user_code() -> str:
    """File and line of the call into the library."""
    frame = sys._getframe()  # noqa: SLF001 - the only way to the caller's line without a traceback
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
