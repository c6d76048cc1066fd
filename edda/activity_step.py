"""One activity as a durable operation: attempts, back-off, and the row that ends it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from edda.clock import monotonic
from edda.codec.binding import FunctionCodec
from edda.codec.errors import dump_error, error_fields, load_error
from edda.codec.json import dumps, loads
from edda.codec.values import Encoded
from edda.exceptions import RetryExhaustedError, TerminalError
from edda.retry import GiveUp, RetryAfter, RetryMetadata, RetryPolicy, decide
from edda.run import Run
from edda.storage.records import HistoryRecord
from edda.storage.writes import NewWait
from edda.types import EventType, JSONObject, WaitKind

# A longer back-off parks the workflow instead of holding its lease.
PARK_FROM_SECONDS = 5.0


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
    ) -> None:
        self.step_id = step_id
        self.name = name
        self._codec = codec
        self._args = args
        self._kwargs = kwargs
        self._retry_policy = retry_policy
        self._attempt = attempt

    def describe(self) -> str:
        """The activity by name."""
        return f"activity {self.name!r}"

    def matches(self, record: HistoryRecord) -> bool:
        """Whether the row is the outcome of an activity of this name."""
        if record.event_type not in (EventType.ACTIVITY_COMPLETED, EventType.ACTIVITY_FAILED):
            return False
        return _fields(record).get("activity_name") == self.name

    async def restore(self, run: Run, record: HistoryRecord) -> Any:
        """Return the recorded result, or raise the recorded error."""
        hooks = run.services.hooks
        fields = _fields(record)
        await hooks.call("on_activity_start", run.instance_id, self.step_id, self.name, True)
        if record.event_type is EventType.ACTIVITY_COMPLETED:
            value = self._codec.result.load(Encoded(fields["result"], fields.get("types")))
            await hooks.call("on_activity_complete", run.instance_id, self.step_id, self.name, value, True)
            return value
        error = load_error(fields["exception"])
        await self._report_failure(run, error)
        raise error

    async def perform(self, run: Run) -> Any:
        """Make attempts until one succeeds or the policy gives up; record that outcome."""
        hooks = run.services.hooks
        self._stored_input = self._codec.dump_call(self._args, self._kwargs)
        await hooks.call("on_activity_start", run.instance_id, self.step_id, self.name, False)
        await self._resume_back_off(run)
        while True:
            self._attempt_began = monotonic()
            try:
                value = await self._attempt(run)
            except Exception as error:  # noqa: BLE001 - whatever user code raises is an outcome of the activity
                failure = error
            else:
                return await self._succeed(run, value)
            await self._back_off_or_fail(run, failure)

    async def _resume_back_off(self, run: Run) -> None:
        """Go on where an earlier run was in its attempts: their count, errors and schedule."""
        open_wait = run.open_wait(self.step_id)
        self._backed_off = open_wait is not None and open_wait.kind is WaitKind.RETRY
        if open_wait is None or not self._backed_off:
            self._metadata = RetryMetadata()
            return
        self._metadata = RetryMetadata.from_dict(cast("JSONObject", loads(open_wait.data or "{}")))
        await run.wait(NewWait(self.step_id, WaitKind.RETRY))

    async def _succeed(self, run: Run, value: Any) -> Any:
        try:
            result = self._codec.result.dump(value, "result")
        except (TypeError, ValueError) as error:
            terminal = TerminalError(f"Activity {self.name} returned a value that cannot be stored: {error}")
            terminal.__cause__ = error
            return await self._fail(run, terminal, retried=False)
        if self._metadata.total_attempts:
            self._count_attempt(None)
        stands = await self._record(run, EventType.ACTIVITY_COMPLETED, {"result": result.json}, result.types)
        if stands is not None:
            return await self.restore(run, stands)
        restored = self._codec.result.load(result)
        await run.services.hooks.call(
            "on_activity_complete", run.instance_id, self.step_id, self.name, restored, False
        )
        return restored

    async def _back_off_or_fail(self, run: Run, error: Exception) -> None:
        self._count_attempt(error)
        policy = self._retry_policy or run.services.default_retry_policy
        elapsed = self._metadata.total_duration_ms / 1000
        match decide(policy, self._metadata, error=error, elapsed=elapsed):
            case RetryAfter(delay):
                await self._back_off(run, error, delay)
            case GiveUp(None):
                await self._fail(run, error, retried=False)
            case GiveUp() as given_up:
                exhausted = RetryExhaustedError(given_up.message(self.name, self._metadata.total_attempts))
                exhausted.__cause__ = error
                await self._fail(run, exhausted, retried=True)

    def _count_attempt(self, error: Exception | None) -> None:
        self._metadata.total_duration_ms += round((monotonic() - self._attempt_began) * 1000)
        if error is None:
            self._metadata.total_attempts += 1
        else:
            self._metadata.add_attempt(self._metadata.total_attempts + 1, error)

    async def _back_off(self, run: Run, error: Exception, delay: float) -> None:
        attempt = self._metadata.total_attempts
        await run.services.hooks.call(
            "on_activity_retry", run.instance_id, self.step_id, self.name, error, attempt, delay
        )
        run.check()  # a run that was stopped makes no further attempt
        self._metadata.total_duration_ms += round(delay * 1000)
        data = dumps(self._metadata.to_dict())
        wait = NewWait(self.step_id, WaitKind.RETRY, seconds=delay, data=data, replace=True)
        self._backed_off = True
        if delay >= PARK_FROM_SECONDS:
            await run.wait(wait)
        else:
            await run.hold(wait)

    async def _fail(self, run: Run, error: Exception, *, retried: bool) -> Any:
        """Record the final failure and raise what the body is to see."""
        self._metadata.exhausted = retried
        raised = error.__cause__ if retried and isinstance(error.__cause__, Exception) else error
        fields: JSONObject = {**error_fields(raised), "exception": dump_error(error)}
        stands = await self._record(run, EventType.ACTIVITY_FAILED, fields, None, with_metadata=retried)
        if stands is not None:
            return await self.restore(run, stands)
        await self._report_failure(run, error)
        raise load_error(cast("JSONObject", fields["exception"])).with_traceback(error.__traceback__)

    async def _report_failure(self, run: Run, error: BaseException) -> None:
        raised = error.__cause__ if isinstance(error, RetryExhaustedError) and error.__cause__ else error
        await run.services.hooks.call("on_activity_failed", run.instance_id, self.step_id, self.name, raised)

    async def _record(
        self,
        run: Run,
        event_type: EventType,
        outcome: JSONObject,
        types: JSONObject | None,
        *,
        with_metadata: bool | None = None,
    ) -> HistoryRecord | None:
        fields: JSONObject = {"activity_name": self.name, **outcome, "input": self._stored_input.json}
        if types:
            fields["types"] = types
        if self._stored_input.types:
            fields["input_types"] = self._stored_input.types
        if with_metadata or (with_metadata is None and self._metadata.total_attempts):
            fields["retry_metadata"] = self._metadata.to_dict()
        return await run.record(self.step_id, event_type, fields, ends_wait=self._backed_off)


def _fields(record: HistoryRecord) -> dict[str, Any]:
    return cast("dict[str, Any]", loads(record.event_data))
