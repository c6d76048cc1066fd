"""Which request is answered how."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from edda.cloudevent import Event
from edda.endpoints.asgi import Answer, NoBody, read_body, send_json
from edda.endpoints.cloudevents import read_events
from edda.exceptions import InvalidEventError
from edda.types import Receive, Scope, Send

logger = logging.getLogger(__name__)

Accept = Callable[[Sequence[Event]], Awaitable[None]]


class Endpoint:
    """The ASGI object for requests of type ``http``: every POST is a CloudEvent or a batch.

    ``accept`` returns when the events are durably stored, all or none, and raises
    :class:`edda.exceptions.InvalidEventError` when they cannot be used: that is the
    fault of the sender (400). Any other exception is ours (500, worth another try).
    ``max_body_size`` gives the limit in bytes and is asked for each request.
    """

    def __init__(self, accept: Accept, *, max_body_size: Callable[[], int]) -> None:
        self._accept = accept
        self._max_body_size = max_body_size

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, once; a client that disconnects gets no answer."""
        answer = await self._answer(scope, receive)
        if answer is not None:
            await send_json(send, answer)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer | None:
        try:
            return await self._respond(scope, receive)
        except Exception as error:
            # The outermost frame of a request: whatever failed, the client must not be left hanging.
            logger.exception("Request failed", extra={"path": relative_path(scope)})
            return internal_error(error)

    async def _respond(self, scope: Scope, receive: Receive) -> Answer | None:
        if scope["method"] != "POST":
            return _method_not_allowed(scope["method"])
        limit = self._max_body_size()
        body = await read_body(scope, receive, limit=limit)
        match body:
            case NoBody.DISCONNECTED:
                logger.debug("The client disconnected", extra={"path": relative_path(scope)})
                return None
            case NoBody.TOO_LARGE:
                return _refused(413, "PayloadTooLarge", f"Request body exceeds {limit} bytes")
            case bytes():
                return await self._receive_events(scope, body)

    async def _receive_events(self, scope: Scope, body: bytes) -> Answer:
        try:
            events = read_events(scope["headers"], body)
            if events:
                await self._accept(events)
        except InvalidEventError as error:
            reason = error.__cause__ or error
            return _refused(400, type(reason).__name__, str(reason))
        return Answer(202, {"status": "accepted"})


def relative_path(scope: Scope) -> str:
    """The path below the mount point, whether or not the server has removed ``root_path``.

    >>> relative_path({"path": "/api/x", "root_path": "/api"}), relative_path({"path": "/x"})
    ('/x', '/x')
    """
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    if path == root or path.startswith(f"{root}/"):
        path = path[len(root) :]
    return path or "/"


def internal_error(error: Exception) -> Answer:
    """The answer when the service itself failed: the client may try again."""
    return Answer(500, {"error": str(error), "error_type": type(error).__name__, "retryable": True})


def _refused(status: int, error_type: str, text: str) -> Answer:
    return Answer(status, {"error": text, "error_type": error_type, "retryable": False})


def _method_not_allowed(method: str) -> Answer:
    refusal = _refused(405, "MethodNotAllowed", f"Method {method} not allowed")
    return replace(refusal, headers=((b"allow", b"POST"),))
