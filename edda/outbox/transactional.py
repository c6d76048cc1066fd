"""Recording an event to be sent, in the transaction of the work that it tells of."""

from __future__ import annotations

import functools
import logging
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from edda.cloudevent import Event, require_attributes
from edda.codec.json import check_size, dumps, loads_object
from edda.codec.payloads import dump_payload, plain_payload
from edda.context import WorkflowContext
from edda.ids import derived_uuid
from edda.run import Run
from edda.scope import activity_scope
from edda.steps import StepCall, call_step, perform
from edda.storage.records import HistoryRecord
from edda.storage.writes_outbox import NewOutboxEvent, OutboxEventAdded
from edda.types import EventType, JSONObject, JSONValue
from edda.unit_of_work import current_unit

__all__ = ["send_event_transactional"]

# Attributes that have their own parameters, or are set when the event is sent.
_NO_EXTENSIONS = frozenset({"specversion", "id", "source", "type", "time", "datacontenttype", "subject"})

logger = logging.getLogger(__name__)


def send_event_transactional(
    ctx: WorkflowContext,
    event_type: str,
    event_source: str,
    event_data: Any,
    content_type: str = "application/json",
    *,
    subject: str | None = None,
    extensions: Mapping[str, object] | None = None,
) -> Coroutine[Any, Any, str]:
    """Record a CloudEvent that is sent after the commit; returns its id, a UUID as text.

    In an activity it belongs to the attempt, in ``ctx.transaction()`` to the block: what is
    rolled back was never recorded. In the body outside of a transaction it is a step of its
    own, with a warning in the log. ``event_data`` is any JSON value, model, other value that
    an activity may return, or bytes. Events with the same source and ``subject`` are sent one
    after the other. ``extensions`` are further attributes: names of lower-case letters and
    digits, with texts, integers or booleans.

    Raises ``TypeError`` or ``ValueError`` for what cannot be an event, and
    :class:`~edda.exceptions.PayloadTooLargeError`.

    ::

        @activity
        async def reserve(ctx, order_id: str) -> None:
            ctx.session.add(Reservation(order_id=order_id))
            await send_event_transactional(ctx, "inventory.reserved", "/shop", {"order_id": order_id})
    """
    run = ctx.run
    plain = plain_payload(event_data, "event_data")
    attributes = _checked(event_type, event_source, content_type, subject, extensions)
    call = call_step(run, f"send_event_transactional_{event_type}")
    data, form = dump_payload(plain)
    check_size(data, f"the data of {call.step_id!r}", limit=run.services.max_payload_bytes)
    event = NewOutboxEvent(
        event_id=str(derived_uuid(run.instance_id, call.step_id)),
        event_type=event_type,
        source=event_source,
        data=data,
        form=form,
        content_type=content_type,
        subject=subject,
        extensions=dumps(attributes) if attributes else None,
    )
    return _send(run, call, _Recorded(event, plain))


def _checked(
    event_type: str,
    source: str,
    content_type: str,
    subject: str | None,
    extensions: Mapping[str, object] | None,
) -> JSONObject:
    """The extensions as plain JSON; raises for what the relayer could not make an event of."""
    own = dict(extensions or {})
    if taken := sorted(_NO_EXTENSIONS & own.keys()):
        raise ValueError(f"{taken[0]!r} is no extension: it is set by the library or has its own parameter")
    if not isinstance(content_type, str):
        raise TypeError(f"content_type must be a text, not {content_type!r}")
    base = {"specversion": "1.0", "id": "1", "source": source, "type": event_type}
    require_attributes(base)
    event = Event({**own, **base, "datacontenttype": content_type, "subject": subject})
    return {name: event[name] for name in own if name in event}


@dataclass(frozen=True, slots=True)
class _Recorded:
    """An event as it is stored, and its data as hooks see it."""

    event: NewOutboxEvent
    data: JSONValue | bytes


async def _send(run: Run, call: StepCall, recorded: _Recorded) -> str:
    unit = current_unit()
    if unit is None or activity_scope(run) is None:
        return await perform(run, call, _OutboxStep(call.step_id, recorded))
    await run.check()
    unit.writes.append(OutboxEventAdded(recorded.event))
    unit.callbacks.append(functools.partial(_report, run, recorded))
    return recorded.event.event_id


class _OutboxStep:
    """The operation behind ``send_event_transactional`` in the body."""

    def __init__(self, step_id: str, recorded: _Recorded) -> None:
        self._step_id = step_id
        self._recorded = recorded

    def describe(self) -> str:
        return f"send_event_transactional of {self._recorded.event.event_type!r}"

    def matches(self, record: HistoryRecord) -> bool:
        return record.event_type is EventType.OUTBOX_EVENT_ADDED

    async def restore(self, run: Run, record: HistoryRecord) -> str:  # noqa: ARG002 - of every operation
        event_id: str = loads_object(record.event_data)["event_id"]
        return event_id

    async def perform(self, run: Run) -> str:
        event = self._recorded.event
        added: JSONObject = {
            "event_id": event.event_id,
            "event_type": event.event_type,
            "event_source": event.source,
        }
        step = run.step(
            self._step_id, EventType.OUTBOX_EVENT_ADDED, added, effects=(OutboxEventAdded(event),)
        )
        unit = current_unit()
        if unit is None:
            logger.warning(
                "send_event_transactional(%r) was called outside of a transaction: "
                "the event is recorded on its own, not together with other work",
                event.event_type,
                extra={"instance_id": run.instance_id},
            )
        stands = await run.record(step)
        if stands is not None:
            return await self.restore(run, stands)
        if unit is None:
            await _report(run, self._recorded)
        else:
            unit.callbacks.append(functools.partial(_report, run, self._recorded))
        return event.event_id


async def _report(run: Run, recorded: _Recorded) -> None:
    """Tell the hooks, after the commit."""
    event = recorded.event
    await run.services.hooks.call("on_event_sent", event.event_type, event.source, recorded.data)
