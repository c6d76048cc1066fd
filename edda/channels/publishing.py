"""Publishing: a message is in the database, once, when the call returns or its transaction commits."""

from __future__ import annotations

import uuid
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, cast

from edda.channels.messages import StoredPayload, check_channel, dump_payload
from edda.clock import now
from edda.codec.json import DEFAULT_MAX_BYTES, loads_object
from edda.context import WorkflowContext
from edda.ids import derived_key
from edda.run import Run
from edda.scope import activity_scope
from edda.steps import StepCall, call_step, perform
from edda.storage.message_writes import MessagePublished
from edda.storage.protocol import StorageProtocol
from edda.storage.records import HistoryRecord
from edda.types import EventType
from edda.unit_of_work import current_unit


class _PublishStep:
    """The operation behind ``publish`` and ``send_to`` in a body; returns what its row says."""

    def __init__(self, step_id: str, event_type: EventType, channel: str, message: MessagePublished) -> None:
        self._step_id = step_id
        self._event_type = event_type
        self._channel = channel
        self._message = message

    def describe(self) -> str:
        name = "publish" if self._event_type is EventType.MESSAGE_PUBLISHED else "send_to"
        return f"{name}({self._channel!r})"

    def matches(self, record: HistoryRecord) -> bool:
        same_type = record.event_type is self._event_type
        return same_type and loads_object(record.event_data).get("channel") == self._channel

    async def restore(self, run: Run, record: HistoryRecord) -> dict[str, Any]:  # noqa: ARG002 - of every operation
        return loads_object(record.event_data)

    async def perform(self, run: Run) -> dict[str, Any]:
        message = self._message
        fields: dict[str, Any] = {
            "channel": self._channel,
            "message_id": message.message_id,
            "target_instance_id": message.target,
        }
        if self._event_type is EventType.MESSAGE_SENT:
            fields["delivered"] = await _is_waiting(run, message)
        step = run.step(self._step_id, self._event_type, fields, effects=(message,))
        stands = await run.record(step)
        return fields if stands is None else await self.restore(run, stands)


def publish(
    ctx_or_storage: WorkflowContext | StorageProtocol,
    channel: str,
    data: Any,
    metadata: dict[str, Any] | None = None,
    *,
    target_instance_id: str | None = None,
    worker_id: str | None = None,  # noqa: ARG001 - published; it has no effect
) -> Coroutine[Any, Any, str]:
    """Publish a message on a channel and return its id.

    ``data`` is any JSON value, a pydantic model (stored as its JSON form) or ``bytes``.
    In the body of a workflow it is a recorded step; in an activity or a transaction block
    it is part of that transaction, so that nothing is delivered when that is rolled back.
    With a storage (``app.storage``) it is stored when this returns. With
    ``target_instance_id`` only that instance can ever see it. Raises ``TypeError`` for
    what cannot be stored and :class:`~edda.exceptions.PayloadTooLargeError`, with nothing
    stored.

    ::

        await publish(ctx, "orders", {"order_id": "o-1"})
        await publish(app.storage, "orders", {"order_id": "o-2"})
    """
    check_channel(channel)
    if isinstance(ctx_or_storage, WorkflowContext):
        return _publish_in_run(ctx_or_storage.run, channel, data, metadata, target_instance_id)
    stored = dump_payload(data, metadata, limit=DEFAULT_MAX_BYTES, published_at=_now())
    message = _message(channel, stored, target=target_instance_id)
    return _publish_outside(ctx_or_storage, message)


def _publish_in_run(
    run: Run, channel: str, data: Any, metadata: dict[str, Any] | None, target: str | None
) -> Coroutine[Any, Any, str]:
    limit = run.services.max_payload_bytes
    added = {"published_at": _now(), "source_instance_id": run.instance_id}
    message = _message(channel, dump_payload(data, metadata, limit=limit, **added), target=target)
    if activity_scope(run) is not None:
        return _publish_outside(run.services.storage, message)
    call = call_step(run, f"publish_{channel}")
    return _publish_step(run, call, channel, message)


async def _publish_step(run: Run, call: StepCall, channel: str, message: MessagePublished) -> str:
    step = _PublishStep(call.step_id, EventType.MESSAGE_PUBLISHED, channel, message)
    return cast("str", (await perform(run, call, step))["message_id"])


async def publish_once(
    storage: StorageProtocol,
    channel: str,
    data: Any,
    metadata: dict[str, Any] | None,
    *,
    message_id: str,
    target: str | None = None,
    direct: bool = False,
) -> None:
    """Publish a message under an id of the caller: a second one with the same id changes nothing."""
    check_channel(channel)
    stored = dump_payload(data, metadata, limit=DEFAULT_MAX_BYTES, published_at=_now())
    message = _message(channel, stored, target=target, direct=direct)
    await _publish_outside(storage, replace(message, message_id=message_id))


async def _publish_outside(storage: StorageProtocol, message: MessagePublished) -> str:
    unit = current_unit()
    if unit is not None and unit.is_of(storage):
        unit.writes.append(message)
    else:
        # Recognised by its key if the answer to its commit is lost.
        await storage.submit(replace(message, key=derived_key("message", message.message_id)))
    return message.message_id


def send_to(
    ctx: WorkflowContext,
    instance_id: str,
    data: Any,
    channel: str = "__direct__",
    metadata: dict[str, Any] | None = None,
) -> Coroutine[Any, Any, bool]:
    """Send a message that only one instance can see, and tell whether it was waiting for it.

    The receiver subscribes to ``channel`` in the mode ``direct``. False means that the
    message is kept for it; either way it is received once. Otherwise as :func:`publish`.

    ::

        await send_to(ctx, order_instance_id, {"approved": True}, channel="approval")
    """
    check_channel(channel)
    run = ctx.run
    limit = run.services.max_payload_bytes
    added = {"sent_at": _now(), "source_instance_id": run.instance_id}
    stored = dump_payload(data, metadata, limit=limit, **added)
    message = _message(channel, stored, target=instance_id, direct=True)
    if activity_scope(run) is not None:
        return _send_from_activity(run, message)
    call = call_step(run, f"send_to_{channel}")
    return _send_step(run, call, channel, message)


async def _send_step(run: Run, call: StepCall, channel: str, message: MessagePublished) -> bool:
    step = _PublishStep(call.step_id, EventType.MESSAGE_SENT, channel, message)
    return cast("bool", (await perform(run, call, step))["delivered"])


async def _send_from_activity(run: Run, message: MessagePublished) -> bool:
    delivered = await _is_waiting(run, message)
    await _publish_outside(run.services.storage, message)
    return delivered


async def _is_waiting(run: Run, message: MessagePublished) -> bool:
    if message.target is None:
        return False
    with run.stopping_on_storage_errors():
        return await run.services.storage.is_waiting(message.target, message.channel, direct=message.direct)


def _now() -> str:
    return now().isoformat()


def _message(
    channel: str, stored: StoredPayload, *, target: str | None, direct: bool = False
) -> MessagePublished:
    return MessagePublished(
        str(uuid.uuid4()),
        channel,
        stored.data,
        stored.metadata,
        types=stored.types,
        target=target,
        direct=direct,
    )
