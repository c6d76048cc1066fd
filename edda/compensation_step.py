"""One compensation as a durable step: an activity of its own, with rows of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from edda.activity import Activity
from edda.activity_step import ActivityStep
from edda.codec.binding import FunctionCodec
from edda.codec.json import loads_object
from edda.context import WorkflowContext
from edda.exceptions import (
    EddaError,
    RecurException,
    TerminalError,
    WorkflowCancelledException,
    WorkflowSignal,
)
from edda.local_functions import function_of
from edda.registrations import Registered
from edda.retry import RetryPolicy
from edda.run import Run
from edda.steps import StepCall, perform
from edda.storage.records import HistoryRecord
from edda.storage.writes import StepRecorded
from edda.types import EventType, JSONObject

logger = logging.getLogger(__name__)

_ONCE = RetryPolicy(max_attempts=1)


async def compensate(ctx: WorkflowContext, registered: Registered) -> JSONObject | None:
    """Execute a compensation unless its outcome is recorded; returns its failure, None if it succeeded."""
    run = ctx.run
    run.journal.take_given(registered.step_id)
    step = CompensationStep(ctx, registered, function_of(run.instance_id, registered))
    return await perform(run, StepCall(registered.step_id), step)


def failure_in(record: HistoryRecord) -> JSONObject | None:
    """What the row of a compensation says of its failure; None for one that succeeded."""
    if record.event_type is not EventType.COMPENSATION_FAILED:
        return None
    fields = loads_object(record.event_data)
    return {name: fields[name] for name in _FAILURE}


_FAILURE = ("compensation_id", "activity_name", "error_type", "error_message")


class CompensationStep(ActivityStep):
    """The operation behind a compensation; what the function returns is not kept."""

    def __init__(
        self, ctx: WorkflowContext, registered: Registered, function: Callable[..., Any] | None
    ) -> None:
        self._registered = registered
        self._failure: JSONObject | None = None
        attempt, policy = _attempt(ctx, registered, function)
        super().__init__(
            registered.step_id,
            name=registered.activity_name,
            codec=FunctionCodec(_any_call),
            args=(),
            kwargs={},
            retry_policy=policy,
            attempt=attempt,
        )

    def describe(self) -> str:
        """The compensation by the name of its function."""
        return f"compensation {self.name!r}"

    def matches(self, record: HistoryRecord) -> bool:
        """Whether the row is the outcome of this compensation."""
        if record.event_type not in (EventType.COMPENSATION_EXECUTED, EventType.COMPENSATION_FAILED):
            return False
        return bool(loads_object(record.event_data).get("activity_name") == self.name)

    async def restore(self, run: Run, record: HistoryRecord) -> JSONObject | None:  # noqa: ARG002 - of every operation
        """Return the recorded failure, if it is one."""
        return failure_in(record)

    async def perform(self, run: Run) -> JSONObject | None:
        """Execute it; a failure is an outcome like any other, and is logged."""
        try:
            await super().perform(run)
        except WorkflowCancelledException:  # of the body that executes it, not of the function
            raise
        except Exception as error:
            if self._failure is None:  # nothing is recorded: this is no outcome
                raise
            logger.error(  # noqa: TRY400 - the traceback is in the history
                "Compensation %s of %s failed for good: %s",
                self.name,
                run.instance_id,
                error.__cause__ or error,
                extra={"instance_id": run.instance_id, "activity_id": self.step_id},
            )
        run.registrations.note_outcome(self._registered.compensation_id, failed=self._failure is not None)
        return self._failure

    def _row(
        self,
        run: Run,
        event_type: EventType,
        outcome: JSONObject,
        types: JSONObject | None,  # noqa: ARG002 - the result is not kept
        *,
        with_metadata: bool = True,
    ) -> StepRecorded:
        number = self._registered.compensation_id
        fields: JSONObject = {"compensation_id": number, "activity_name": self.name}
        if event_type is EventType.ACTIVITY_COMPLETED:
            event_type, self._failure = EventType.COMPENSATION_EXECUTED, None
            fields |= {name: value for name, value in self._registered.to_json().items() if name in _CALL}
        else:
            event_type = EventType.COMPENSATION_FAILED
            fields |= outcome
            self._failure = {name: fields[name] for name in _FAILURE}
        if with_metadata and self._attempts.metadata.total_attempts:
            fields["retry_metadata"] = self._attempts.metadata.to_dict()
        return run.step(self.step_id, event_type, fields, ends_wait=self._attempts.has_row)


_CALL = ("args", "kwargs", "types")


async def _any_call(ctx: WorkflowContext) -> None:
    """Stands for the signature, since arguments that do not fit are an outcome here, not a wrong call."""


def _attempt(
    ctx: WorkflowContext, registered: Registered, function: Callable[..., Any] | None
) -> tuple[Callable[[Run], Awaitable[None]], RetryPolicy | None]:
    """What makes an attempt, and how often; what can never be called fails at once."""
    try:
        activity = _activity(registered, function)
        args, kwargs = activity.codec.load_call(registered.call)
        activity.codec.check_call(args, kwargs)
    except Exception as error:  # noqa: BLE001 - stored values, user's classes: whatever it is, it is the outcome
        return _failing(error), _ONCE
    call = activity.attempt(ctx, args, kwargs)

    async def attempt(run: Run) -> None:
        try:
            await call(run)
        except WorkflowCancelledException as error:
            if run.cancelled:  # it was interrupted: the rollback that follows executes it
                raise
            raise TerminalError(str(error)) from error
        except RecurException as error:
            raise TerminalError("a compensation cannot recur: its workflow is over") from error
        except Exception:
            raise
        except BaseException as error:
            if _ends_the_run(run, error):
                raise
            # Of the function alone, it must not keep the other compensations from being executed.
            raise EddaError(f"Compensation {activity.name!r} raised {error!r}") from error

    return attempt, activity.retry_policy


def _ends_the_run(run: Run, error: BaseException) -> bool:
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return run.ended or (task is not None and task.cancelling() > 0)
    return isinstance(error, WorkflowSignal | KeyboardInterrupt | SystemExit)


def _activity(registered: Registered, function: Callable[..., Any] | None) -> Activity[..., Any]:
    if function is None:
        raise LookupError(f"Compensation function {registered.activity_name!r} not found")
    return function if isinstance(function, Activity) else Activity(function)


def _failing(error: Exception) -> Callable[[Run], Awaitable[None]]:
    async def attempt(run: Run) -> None:  # noqa: ARG001 - of every attempt
        raise error

    return attempt
