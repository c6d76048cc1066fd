"""Sending an event at once, without the outbox: one POST."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, cast

from edda.cloudevent import Event, require_attributes
from edda.cloudevent_http import new_client, structured
from edda.codec.errors import dump_error, load_error
from edda.codec.json import loads_object
from edda.codec.payloads import plain_payload
from edda.context import current_context
from edda.ids import derived_uuid, new_uuid
from edda.run import Run
from edda.scope import activity_scope
from edda.steps import call_step, perform
from edda.storage.records import HistoryRecord
from edda.types import EventType, JSONObject

if TYPE_CHECKING:
    import httpx2

_SECONDS = 10.0
_ERRORS_FROM = 400


def send_event(
    event_type: str,
    source: str,
    data: Any,
    broker_url: str = "http://broker-ingress.knative-eventing.svc.cluster.local",
    datacontenttype: str | None = None,
) -> Coroutine[Any, Any, None]:
    """Post a CloudEvent in structured mode now; within 10 seconds.

    ``data`` is any JSON value, model, other value that an activity may return, or bytes.
    In the body of a workflow it is a recorded step: sent at least once, with the same id each
    time, and not again on replay. In an activity it is sent by each attempt, whether that
    commits or not; :func:`edda.send_event_transactional` is sent only after the commit.

    Raises ``httpx2.HTTPError`` when the broker cannot be reached or answers with 400 or
    above; in a body that error is recorded and has ``status_code`` instead of the response.
    Raises ``TypeError`` or ``ValueError`` for what cannot be an event.

    ::

        await send_event("order.created", "/shop", {"order_id": order_id}, "http://broker/")
    """
    event = _event(event_type, source, data, datacontenttype)
    context = current_context.get()
    if context is None:
        return _post(event, broker_url)
    run = context.run
    call = call_step(run, f"send_event_{event_type}")
    derived_id = str(derived_uuid(run.instance_id, call.step_id))
    event = Event({**event, "id": derived_id}, event.data)
    if activity_scope(run) is not None:
        return _post(event, broker_url)
    return perform(run, call, _SendStep(call.step_id, event, broker_url))


def _event(event_type: str, source: str, data: Any, datacontenttype: str | None) -> Event:
    attributes = {"specversion": "1.0", "id": str(new_uuid()), "source": source, "type": event_type}
    require_attributes(attributes)
    return Event({**attributes, "datacontenttype": datacontenttype}, plain_payload(data, "data"))


async def _post(event: Event, broker_url: str) -> None:
    import httpx2

    request = structured(event)
    async with new_client(seconds=_SECONDS, connections=1) as client:
        response = await client.post(broker_url, headers=request.headers, content=request.content)
    if response.status_code >= _ERRORS_FROM:
        raise httpx2.HTTPStatusError(
            f"{broker_url} answered event {event['id']} with {response.status_code} {response.reason_phrase}",
            request=response.request,
            response=response,
        )


class _SendStep:
    """The operation behind ``send_event`` in the body."""

    def __init__(self, step_id: str, event: Event, broker_url: str) -> None:
        self._step_id = step_id
        self._event = event
        self._broker_url = broker_url

    def describe(self) -> str:
        return f"send_event of {self._event['type']!r}"

    def matches(self, record: HistoryRecord) -> bool:
        return record.event_type is EventType.EVENT_SENT

    async def restore(self, run: Run, record: HistoryRecord) -> None:  # noqa: ARG002 - of every operation
        exception = loads_object(record.event_data).get("exception")
        if exception is not None:
            raise load_error(exception)

    async def perform(self, run: Run) -> None:
        import httpx2

        sent: JSONObject = {
            "event_id": self._event["id"],
            "event_type": self._event["type"],
            "event_source": self._event["source"],
            "broker_url": self._broker_url,
        }
        if run.turnstile.has_unreached:
            httpx2.URL(
                self._broker_url
            )  # what raises here is never recorded: each replay makes the call again
            await run.turnstile.may_begin()
        try:
            await _post(self._event, self._broker_url)
        except httpx2.HTTPError as error:
            sent["exception"] = dump_error(_storable(error))
        stands = await run.record(run.step(self._step_id, EventType.EVENT_SENT, sent))
        if stands is not None:
            await self.restore(run, stands)
        elif "exception" in sent:
            raise load_error(cast("JSONObject", sent["exception"]))


def _storable(error: httpx2.HTTPError) -> httpx2.HTTPError:
    """The same error without request and response, which hold open sockets and large bodies."""
    import httpx2

    bare = type(error).__new__(type(error))
    httpx2.HTTPError.__init__(bare, str(error))
    if isinstance(error, httpx2.HTTPStatusError):
        bare.status_code = error.response.status_code  # type: ignore[attr-defined]
    return bare
