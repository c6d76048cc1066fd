"""Which request is answered how."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from edda.cloudevent import Event
from edda.endpoints.asgi import Answer, NoBody, read_body, refused, relative_path, retryable, send_json
from edda.endpoints.authentication import Authenticate, refusal_of
from edda.endpoints.cancel import Cancel, cancel_instance, instance_to_cancel
from edda.endpoints.cloudevents import UnsupportedMediaTypeError, read_events
from edda.endpoints.failures import log_failure, status_of
from edda.exceptions import InvalidEventError
from edda.types import Receive, Scope, Send

# Nobody waits for the rest of the body.
_CLOSE = (b"connection", b"close")

logger = logging.getLogger(__name__)

Accept = Callable[[Sequence[Event]], Awaitable[None]]


class Limits(Protocol):
    """What is asked for each request, so that it can be changed while the app runs."""

    @property
    def max_body_size(self) -> int:
        """Bytes."""
        ...

    @property
    def body_seconds(self) -> float:
        """The longest a client may take for the body."""
        ...

    @property
    def authenticate(self) -> Authenticate | None:
        """Who may send requests; None: everybody."""
        ...


class Endpoint:
    """The ASGI object for requests of type ``http``: a POST is a CloudEvent, a batch, or a cancellation.

    ``accept`` returns when the events are durably stored, all or none, and raises
    :class:`edda.exceptions.InvalidEventError` when they cannot be used: that is the
    fault of the sender (400). Any other exception is ours (503 while the database is away or
    the app stops, else 500; both worth another try). ``cancel`` gets the id of an instance
    and returns whether it was live.
    """

    def __init__(self, accept: Accept, cancel: Cancel, limits: Limits) -> None:
        self._accept = accept
        self._cancel = cancel
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, once; a client that disconnects gets no answer."""
        answer = await self._answer(scope, receive)
        if answer is not None:
            await send_json(send, answer)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer | None:
        try:
            return await self._respond(scope, receive)
        except Exception as error:  # noqa: BLE001 - whatever failed, the client must not be left hanging
            log_failure(error, "Request failed", path=relative_path(scope))
            return retryable(status_of(error), type(error).__name__, str(error))

    async def _respond(self, scope: Scope, receive: Receive) -> Answer | None:
        if scope["method"] != "POST":
            return refused(
                405, "MethodNotAllowed", f"Method {scope['method']} not allowed", (b"allow", b"POST")
            )
        limit, seconds = self._limits.max_body_size, self._limits.body_seconds
        body = await read_body(scope, receive, limit=limit, seconds=seconds)
        match body:
            case NoBody.DISCONNECTED:
                logger.debug("The client disconnected", extra={"path": relative_path(scope)})
                return None
            case NoBody.TOO_LARGE:
                return refused(413, "PayloadTooLarge", f"Request body exceeds {limit} bytes")
            case NoBody.TOO_SLOW:
                return retryable(
                    408, "RequestTimeout", f"No whole request body within {seconds:g} seconds", _CLOSE
                )
            case bytes():
                return await self._use(scope, body)

    async def _use(self, scope: Scope, body: bytes) -> Answer:
        authenticate = self._limits.authenticate
        refusal = None if authenticate is None else await refusal_of(authenticate, scope, body)
        if refusal is not None:
            return refusal
        instance_id = instance_to_cancel(relative_path(scope))
        if instance_id is not None:
            return await cancel_instance(instance_id, self._cancel)
        return await self._receive_events(scope, body)

    async def _receive_events(self, scope: Scope, body: bytes) -> Answer:
        try:
            events = read_events(scope["headers"], body)
            if events:
                await self._accept(events)
        except InvalidEventError as error:
            reason = error.__cause__ or error
            if isinstance(reason, UnsupportedMediaTypeError):
                return refused(415, "UnsupportedMediaType", str(reason))
            return refused(400, type(reason).__name__, str(reason))
        return Answer(202, {"status": "accepted"})
