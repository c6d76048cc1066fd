"""One activity as a durable operation: attempts, back-off, and the row that ends it."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edda.arguments import check_arguments
from edda.attempts import Attempts
from edda.codec.binding import FunctionCodec
from edda.codec.errors import dump_error, error_fields, load_error
from edda.codec.json import check_size, dumps, loads_object
from edda.codec.values import Encoded
from edda.compensators import Compensator
from edda.exceptions import (
    NonDeterminismError,
    RetryExhaustedError,
    TerminalError,
    TransactionLostError,
    WorkflowCancelledException,
)
from edda.local_functions import hold_functions
from edda.registrations import KEY, Change, Registered, as_json, is_inside_compensation
from edda.retry import GiveUp, RetryAfter, RetryPolicy
from edda.run import Run
from edda.scope import ActivityScope, inside_activity
from edda.steps import ActivityMustWait
from edda.storage.records import HistoryRecord
from edda.storage.writes import StepRecorded
from edda.types import EventType, JSONObject
from edda.unit_of_work import UnitOfWork, current_unit


class ActivityStep:
    """The operation behind the call of an activity."""

    def __init__(
        self,
        step_id: str,
        *,
        name: str,
        codec: FunctionCodec,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        retry_policy: RetryPolicy | None,
        attempt: Callable[[Run], Awaitable[Any]],
        compensators: Sequence[Compensator] = (),
    ) -> None:
        self.step_id = step_id
        self.name = name
        self._codec = codec
        self._args = args
        self._kwargs = kwargs
        self._retry_policy = retry_policy
        self._attempt = attempt
        self._compensators = compensators
        self._read: tuple[HistoryRecord, dict[str, Any]] | None = None

    def describe(self) -> str:
        """The activity by name."""
        return f"activity {self.name!r}"

    def matches(self, record: HistoryRecord) -> bool:
        """Whether the row is the outcome of an activity of this name."""
        if record.event_type not in (EventType.ACTIVITY_COMPLETED, EventType.ACTIVITY_FAILED):
            return False
        return self._fields_of(record).get("activity_name") == self.name

    def _fields_of(self, record: HistoryRecord) -> dict[str, Any]:
        # Matched and then restored: read once, since a replay does this for every step.
        if self._read is None or self._read[0] is not record:
            self._read = record, loads_object(record.event_data)
        return self._read[1]

    async def restore(self, run: Run, record: HistoryRecord) -> Any:
        """Return the recorded result, or raise the recorded error."""
        hooks = run.services.hooks
        fields = self._fields_of(record)
        name = (run.instance_id, self.step_id, self.name)
        check_arguments(
            run,
            self.step_id,
            recorded=fields["input"],
            codec=self._codec,
            args=self._args,
            kwargs=self._kwargs,
        )
        if hooks.observer is not None:
            await hooks.call("on_activity_start", *name, True)
        if record.event_type is EventType.ACTIVITY_COMPLETED:
            if KEY in fields:
                self._hold_functions(run, fields[KEY])
            value = self._codec.result.load(Encoded(fields["result"], fields.get("types")))
            if hooks.observer is not None:
                await hooks.call("on_activity_complete", *name, value, True)
            return value
        error = load_error(fields["exception"])
        await self._report_failure(run, error)
        raise error

    async def perform(self, run: Run) -> Any:
        """Make attempts until one succeeds or the policy gives up; record that outcome."""
        self._stored_input = self._codec.dump_call(self._args, self._kwargs)
        limit = run.services.max_payload_bytes
        check_size(dumps(self._stored_input.json), f"the arguments of {self.step_id!r}", limit=limit)
        unit = current_unit()
        if unit is not None and unit.is_replayed and self._codec.accepts(self._args, self._kwargs):
            run.stop(NonDeterminismError.in_ended_transaction(self.step_id, run.instance_id))
            raise run.signal()
        if run.turnstile.has_unreached and self._codec.accepts(self._args, self._kwargs):
            await (
                run.turnstile.may_begin()
            )  # a call that is wrong is never recorded: each replay makes it again
        self._attempts = Attempts(run, self.step_id, durable=unit is None)
        hooks = run.services.hooks
        if hooks.observer is not None:
            await hooks.call("on_activity_start", run.instance_id, self.step_id, self.name, False)
        await self._attempts.resume()
        while (ending := await self._try_once(run)) is None:
            continue
        if ending.stands is not None:
            return await self.restore(run, ending.stands)
        if ending.error is not None:
            await _after_commit(functools.partial(self._report_failure, run, ending.error))
            raise ending.error
        if hooks.observer is not None:
            arguments = (run.instance_id, self.step_id, self.name, ending.value, False)
            await _after_commit(functools.partial(hooks.call, "on_activity_complete", *arguments))
        return ending.value

    async def _try_once(self, run: Run) -> _Ending | None:
        """One attempt in a unit of work of its own; None when another is to follow."""
        unit = UnitOfWork(run.services.storage, current_unit())
        self._attempts.begin()
        try:
            return await self._attempt_in(run, unit)
        except ActivityMustWait as wait:
            await unit.discard()
            await wait.operation.perform(run)
            return None
        except WorkflowCancelledException:  # never a failure of the activity
            await unit.discard()
            raise
        except Exception as error:  # noqa: BLE001 - whatever user code raises is an outcome of the activity
            failure, in_trouble = error, isinstance(error, TransactionLostError) or unit.is_trouble(error)
            must_pass_on = in_trouble and unit.is_savepoint
        except BaseException:
            await unit.discard()
            raise
        await unit.discard()
        if isinstance(failure, TypeError) and not self._codec.accepts(self._args, self._kwargs):
            raise failure  # the call itself is wrong: no attempt can help, and every replay makes it again
        if must_pass_on:  # what came before this activity is gone as well
            raise TransactionLostError(f"The transaction around {self.step_id!r} was lost") from failure
        if in_trouble:
            await self._attempts.wait_out_trouble(failure)
            return None
        return await self._after_failure(run, failure)

    async def _attempt_in(self, run: Run, unit: UnitOfWork) -> _Ending:
        scope = ActivityScope(run, self.step_id, self._attempts)
        await unit.enter()
        try:
            with unit.current(), inside_activity(scope):
                value = await self._attempt(run)
        finally:
            scope.heartbeat.end()
        self._attempts.succeeded()
        try:
            result = self._codec.result.dump(value, "result")
            outcome: JSONObject = {"result": result.json}
            if changes := self._changes(run, unit, value):
                outcome[KEY] = as_json(changes)
            step = self._row(run, EventType.ACTIVITY_COMPLETED, outcome, result.types)
        except (TypeError, ValueError) as error:
            await unit.discard()
            return await self._not_storable(run, error)
        stands = await run.record_with(unit, step)
        if stands is None and unit.parent is None and unit.callbacks:
            with inside_activity(scope):  # what a callback starts is no step of the body
                await unit.run_callbacks()
        return _Ending(value=self._codec.result.load(result), stands=stands)

    def _changes(self, run: Run, unit: UnitOfWork, value: Any) -> Sequence[Change]:
        """What the attempt has registered, and after it what follows from its success."""
        changes = unit.take_registered()
        if self._compensators and not is_inside_compensation(self.step_id):
            for compensator in self._compensators:
                number = run.registrations.next_id()
                changes.append(compensator.registered_after(number, self._codec, self._stored_input, value))
        unit.changes += changes
        return changes

    def _hold_functions(self, run: Run, entries: Sequence[Mapping[str, Any]]) -> None:
        # What follows from the success of an activity is registered last.
        for entry, compensator in zip(reversed(entries), reversed(self._compensators), strict=False):
            if entry.get("function") == compensator.reference:
                hold_functions(run.instance_id, [Registered.from_json(entry, compensator.target)])

    async def _not_storable(self, run: Run, error: Exception) -> _Ending:
        terminal = TerminalError(f"Activity {self.name} returned a value that cannot be stored: {error}")
        terminal.__cause__ = error
        return await self._fail(run, terminal, retried=False)

    async def _after_failure(self, run: Run, error: Exception) -> _Ending | None:
        policy = self._retry_policy or run.services.default_retry_policy
        match self._attempts.failed(error, policy):
            case RetryAfter(delay):
                attempt = self._attempts.metadata.total_attempts
                arguments = (run.instance_id, self.step_id, self.name, error, attempt, delay)
                await run.services.hooks.call("on_activity_retry", *arguments)
                await self._attempts.back_off(delay)
                return None
            case GiveUp(None):
                return await self._fail(run, error, retried=False)
            case GiveUp() as given_up:
                self._attempts.metadata.exhausted = True
                attempts = self._attempts.metadata.total_attempts
                exhausted = RetryExhaustedError(given_up.message(self.name, attempts))
                exhausted.__cause__ = error
                return await self._fail(run, exhausted, retried=True)

    async def _fail(self, run: Run, error: Exception, *, retried: bool) -> _Ending:
        """Record the final failure; the body is to see what a replay would restore."""
        raised = error.__cause__ if retried and isinstance(error.__cause__, Exception) else error
        exception = dump_error(error)
        fields: JSONObject = {**error_fields(raised), "exception": exception}
        step = self._row(run, EventType.ACTIVITY_FAILED, fields, None, with_metadata=retried)
        stands = await run.record(step)
        return _Ending(error=load_error(exception).with_traceback(error.__traceback__), stands=stands)

    def _row(
        self,
        run: Run,
        event_type: EventType,
        outcome: JSONObject,
        types: JSONObject | None,
        *,
        with_metadata: bool = True,
    ) -> StepRecorded:
        """The write that records this outcome."""
        fields: JSONObject = {"activity_name": self.name, **outcome, "input": self._stored_input.json}
        if types:
            fields["types"] = types
        if self._stored_input.types:
            fields["input_types"] = self._stored_input.types
        if with_metadata and self._attempts.metadata.total_attempts:
            fields["retry_metadata"] = self._attempts.metadata.to_dict()
        return run.step(self.step_id, event_type, fields, ends_wait=self._attempts.has_row)

    async def _report_failure(self, run: Run, error: BaseException) -> None:
        cause = error.__cause__ if isinstance(error, RetryExhaustedError) else None
        raised = error if cause is None else cause
        await run.services.hooks.call("on_activity_failed", run.instance_id, self.step_id, self.name, raised)


@dataclass(frozen=True, slots=True)
class _Ending:
    """How an activity ended; ``stands`` is a record of its outcome that was there before."""

    value: Any = None
    error: Exception | None = None
    stands: HistoryRecord | None = None


async def _after_commit(tell: Callable[[], Awaitable[None]]) -> None:
    """Tell the hooks now, or when the unit of work around this activity has been committed."""
    unit = current_unit()
    if unit is None:
        await tell()
    else:
        unit.callbacks.append(tell)
