"""Saying which channels a workflow wants to hear."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from edda.channels.messages import check_channel
from edda.channels.recording import keep_out_of_transactions, raise_recorded, recorded_error
from edda.codec.json import loads_object
from edda.context import WorkflowContext
from edda.exceptions import ChannelModeConflictError
from edda.run import Run
from edda.steps import StepCall, call_step, perform
from edda.storage.message_writes import ModeConflict, Subscribed, Unsubscribed
from edda.storage.records import HistoryRecord
from edda.storage.writes import AlreadyRecorded
from edda.types import ChannelMode, EventType, JSONObject

_MODES = ("broadcast", "competing", "direct")


class _SubscribeStep:
    """The operation behind ``subscribe``."""

    def __init__(self, step_id: str, channel: str, mode: str) -> None:
        self._step_id = step_id
        self._channel = channel
        self._mode = mode

    def describe(self) -> str:
        return f"subscribe({self._channel!r})"

    def matches(self, record: HistoryRecord) -> bool:
        return (
            record.event_type is EventType.CHANNEL_SUBSCRIBED
            and loads_object(record.event_data).get("channel") == self._channel
        )

    async def restore(self, run: Run, record: HistoryRecord) -> None:
        run.subscriptions.added(())
        raise_recorded(record)

    async def perform(self, run: Run) -> None:
        keep_out_of_transactions(run, self.describe())
        direct = self._mode == "direct"
        names = run.subscriptions
        stored = names.direct_name(self._channel) if direct else names.own_name(self._channel)
        mode = ChannelMode.BROADCAST if direct else ChannelMode(self._mode)
        fields: JSONObject = {"channel": self._channel, "mode": self._mode}
        step = run.step(self._step_id, EventType.CHANNEL_SUBSCRIBED, fields)
        answer = await run.submit(
            Subscribed(run.lease, names.subscriber, stored, mode, step.activity_id, step.event_data)
        )
        match answer:
            case AlreadyRecorded(record):
                await self.restore(run, record)
            case ModeConflict(existing):
                error = ChannelModeConflictError(self._channel, existing.value, self._mode)
                raise await recorded_error(run, self._step_id, EventType.CHANNEL_SUBSCRIBED, fields, error)
            case _:
                names.added([stored], mode)
                run.note_recorded(step)


class _UnsubscribeStep:
    """The operation behind ``unsubscribe``."""

    def __init__(self, step_id: str, channel: str) -> None:
        self._step_id = step_id
        self._channel = channel

    def describe(self) -> str:
        return f"unsubscribe({self._channel!r})"

    def matches(self, record: HistoryRecord) -> bool:
        return (
            record.event_type is EventType.CHANNEL_UNSUBSCRIBED
            and loads_object(record.event_data).get("channel") == self._channel
        )

    async def restore(self, run: Run, record: HistoryRecord) -> None:  # noqa: ARG002 - of every operation
        run.subscriptions.added(())

    async def perform(self, run: Run) -> None:
        keep_out_of_transactions(run, self.describe())
        with run.stopping_on_storage_errors():
            stored = await run.subscriptions.stored_name(self._channel)
        step = run.step(self._step_id, EventType.CHANNEL_UNSUBSCRIBED, {"channel": self._channel})
        subscriber = run.subscriptions.subscriber
        await run.submit(Unsubscribed(run.lease, subscriber, stored, step.activity_id, step.event_data))
        run.subscriptions.removed(stored)
        run.note_recorded(step)


def subscribe(ctx: WorkflowContext, channel: str, mode: str = "broadcast") -> Coroutine[Any, Any, None]:
    """Receive what is published on a channel from now on; see :func:`receive`.

    ``broadcast``: every subscriber gets each message. ``competing``: each message goes to
    one subscriber, also what was published before. ``direct``: only what is sent to this
    instance with :func:`send_to`. Subscribing again in the same mode changes nothing.
    Raises ``ValueError`` for another mode and
    :class:`~edda.exceptions.ChannelModeConflictError` while a live instance is
    subscribed in another mode. The subscription ends with the instance.

    ::

        await subscribe(ctx, "orders", mode="competing")
    """
    check_channel(channel)
    if mode not in _MODES:
        raise ValueError(f"Invalid subscription mode: {mode}. Must be 'broadcast', 'competing', or 'direct'")
    call = call_step(ctx.run, f"subscribe_{channel}")
    return _subscribe(ctx.run, call, channel, mode)


async def _subscribe(run: Run, call: StepCall, channel: str, mode: str) -> None:
    await perform(run, call, _SubscribeStep(call.step_id, channel, mode))


def unsubscribe(ctx: WorkflowContext, channel: str) -> Coroutine[Any, Any, None]:
    """End the subscription to a channel; nothing happens where there is none.

    ::

        await unsubscribe(ctx, "orders")
    """
    check_channel(channel)
    call = call_step(ctx.run, f"unsubscribe_{channel}")
    return _unsubscribe(ctx.run, call, channel)


async def _unsubscribe(run: Run, call: StepCall, channel: str) -> None:
    await perform(run, call, _UnsubscribeStep(call.step_id, channel))
