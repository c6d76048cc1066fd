"""Receiving: taking a message and recording it are one write, and waiting for one is a wait like others."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from edda.channels.messages import ChannelMessage, check_channel, load_message
from edda.channels.recording import keep_out_of_transactions, raise_recorded, recorded_error
from edda.clock import monotonic, now
from edda.codec.json import dumps, loads_object
from edda.context import WorkflowContext
from edda.exceptions import ChannelModeConflictError
from edda.run import Run
from edda.steps import StepCall, call_step, check_may_wait, perform
from edda.storage.message_writes import MessageTaken, ModeConflict, NoMessage, TakeAnswer, Taken
from edda.storage.records import HistoryRecord
from edda.storage.writes import AlreadyRecorded, NewWait, StepRecorded
from edda.types import EventType, JSONObject, WaitKind, is_number


class ReceiveStep:
    """The operation behind ``receive``, and with a subscription made on the way behind ``wait_event``."""

    def __init__(self, step_id: str, channel: str, timeout: float | None, *, subscribe: bool = False) -> None:
        self._step_id = step_id
        self._channel = channel
        self._timeout = timeout
        self._subscribe = subscribe
        self.is_new = False
        """Whether the message was taken by this run."""

    def describe(self) -> str:
        """The operation by its channel."""
        return f"receive({self._channel!r})"

    def matches(self, record: HistoryRecord) -> bool:
        """Whether the row is the outcome of waiting on this channel."""
        kinds = (EventType.CHANNEL_MESSAGE_RECEIVED, EventType.MESSAGE_TIMEOUT)
        return record.event_type in kinds and loads_object(record.event_data).get("channel") == self._channel

    async def restore(self, run: Run, record: HistoryRecord) -> ChannelMessage:
        """Return the recorded message, or raise what was recorded instead."""
        run.subscriptions.added(())
        raise_recorded(record)
        if record.event_type is EventType.MESSAGE_TIMEOUT:
            raise self.timeout_error()
        return load_message(record.event_data)

    def timeout_error(self) -> TimeoutError:
        """What a wait that was in vain raises."""
        return TimeoutError(f"Message on channel {self._channel!r} did not arrive within timeout")

    async def perform(self, run: Run) -> ChannelMessage:
        """Take a message, waiting for one as long as allowed."""
        keep_out_of_transactions(run, self.describe())
        stored = await self._stored_name(run)
        is_over = self._timeout == 0 or run.waits.is_over(self._step_id)
        deadline = None if self._timeout is None else monotonic() + self._timeout
        looks = is_over or not self._goes_to_sleep(run, stored)
        while True:
            if looks:
                answer = await run.submit(self._write(run, stored, is_over=is_over))
                if answer is not NoMessage.NOTHING_THERE:
                    return await self._outcome(run, stored, answer)
                run.subscriptions.drained.add(stored)
            looks = True
            check_may_wait(run, self)
            seconds = None if deadline is None else max(0.0, deadline - monotonic())
            wait = NewWait(self._step_id, WaitKind.MESSAGE, seconds=seconds, channel=stored)
            ended = await run.wait_for_message(wait, self._write(run, stored, is_over=False))
            if not isinstance(ended, bool):
                return await self._outcome(run, stored, ended)
            is_over = ended

    def _goes_to_sleep(self, run: Run, stored: str) -> bool:
        """Whether there is most likely nothing, and the run parks: the write that parks it looks, too."""
        known = not self._subscribe and stored in run.subscriptions.drained
        return known and run.in_flight == 1 and not run.waits.pending

    async def _stored_name(self, run: Run) -> str:
        with run.stopping_on_storage_errors():
            return await run.subscriptions.stored_name(self._channel)

    def _write(self, run: Run, stored: str, *, is_over: bool) -> MessageTaken:
        return MessageTaken(
            run.lease,
            run.subscriptions.subscriber,
            self._step_id,
            stored,
            self._channel,
            subscribe=self._subscribe,
            timeout_data=dumps(self._timeout_fields()) if is_over else None,
        )

    def _timeout_fields(self) -> JSONObject:
        error = self.timeout_error()
        return {
            "_error": True,
            "error_type": type(error).__name__,
            "error_message": str(error),
            "channel": self._channel,
            "timeout_at": now().isoformat(),
        }

    async def _outcome(self, run: Run, stored: str, answer: TakeAnswer) -> ChannelMessage:
        if self._subscribe:
            run.subscriptions.added([stored])
        match answer:
            case Taken(event_data):
                run.note_recorded(self._row(run, EventType.CHANNEL_MESSAGE_RECEIVED, event_data))
                self.is_new = True
                return load_message(event_data)
            case NoMessage.TIMED_OUT:
                run.note_recorded(self._row(run, EventType.MESSAGE_TIMEOUT, dumps(self._timeout_fields())))
                raise self.timeout_error()
            case AlreadyRecorded(record):
                return await self.restore(run, record)
        error = self._refusal(run, answer)
        fields: JSONObject = {"channel": self._channel}
        raise await recorded_error(run, self._step_id, EventType.CHANNEL_MESSAGE_RECEIVED, fields, error)

    def _row(self, run: Run, event_type: EventType, event_data: str) -> StepRecorded:
        return StepRecorded(run.lease, self._step_id, event_type, event_data)

    def _refusal(self, run: Run, answer: TakeAnswer) -> Exception:
        if isinstance(answer, ModeConflict):
            return ChannelModeConflictError(self._channel, answer.existing.value, "broadcast")
        return ValueError(f"Instance {run.instance_id} is not subscribed to channel {self._channel}")


def check_timeout(timeout_seconds: float | None) -> float | None:
    """The seconds to wait; ``TypeError`` or ``ValueError`` if they are no time."""
    if timeout_seconds is None:
        return None
    if not is_number(timeout_seconds):
        raise TypeError(f"timeout_seconds must be a number or None, not {timeout_seconds!r}")
    if timeout_seconds < 0:
        raise ValueError(f"timeout_seconds must not be negative: {timeout_seconds!r}")
    return timeout_seconds


def receive(
    ctx: WorkflowContext, channel: str, timeout_seconds: float | None = None, message_id: str | None = None
) -> Coroutine[Any, Any, ChannelMessage]:
    """The next message of a channel that this workflow subscribed to, as soon as there is one.

    Taking a message and recording it are one write: it is neither lost nor received twice,
    whenever a process dies. The workflow holds no lease while it waits. After
    ``timeout_seconds``, counted from the first time this wait is reached, ``TimeoutError``
    is raised; 0 does not wait at all. ``message_id`` replaces the automatic id
    ``receive_{channel}:{n}`` of the step. Raises ``ValueError`` without a subscription,
    unless a message was sent to this very instance.

    ::

        await subscribe(ctx, "orders", mode="competing")
        message = await receive(ctx, "orders", timeout_seconds=3600)
        await process(ctx, message.data)
    """
    check_channel(channel)
    timeout = check_timeout(timeout_seconds)
    call = call_step(ctx.run, f"receive_{channel}", message_id)
    return _receive(ctx.run, call, channel, timeout)


async def _receive(run: Run, call: StepCall, channel: str, timeout: float | None) -> ChannelMessage:
    return await perform(run, call, ReceiveStep(call.step_id, channel, timeout))
