"""Reading a request within limits, and answering once with JSON."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass
from enum import Enum, auto

from edda.types import JSONObject, Receive, Scope, Send

logger = logging.getLogger(__name__)


class NoBody(Enum):
    """Why a request gives no body."""

    TOO_LARGE = auto()
    TOO_SLOW = auto()
    DISCONNECTED = auto()


async def read_body(scope: Scope, receive: Receive, *, limit: int, seconds: float) -> bytes | NoBody:
    """The whole body, or why there is none; ``limit`` in bytes, ``seconds`` for all of it.

    A body that is too large is recognised by its announced length before anything is
    read, and otherwise as soon as the limit is passed; the rest is left to the server.
    """
    if _announced_length(scope) > limit:
        return NoBody.TOO_LARGE
    try:
        async with asyncio.timeout(seconds):
            return await _read(receive, limit)
    except TimeoutError:
        return NoBody.TOO_SLOW


async def _read(receive: Receive, limit: int) -> bytes | NoBody:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return NoBody.DISCONNECTED
        body += message.get("body", b"")
        if len(body) > limit:
            return NoBody.TOO_LARGE
        if not message.get("more_body", False):
            return bytes(body)


def _announced_length(scope: Scope) -> int:
    for value in headers_of(scope, b"content-length"):
        try:
            return int(value)
        except ValueError:
            # No server lets it through; if one does, counting while reading decides.
            return 0
    return 0


def headers_of(scope: Scope, name: bytes) -> list[bytes]:
    """The values of all headers of this name, which is in lower case."""
    return [value for each, value in scope["headers"] if each.lower() == name]


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


@dataclass(frozen=True, slots=True)
class Answer:
    """A response that is still to be sent."""

    status: int
    body: JSONObject
    headers: tuple[tuple[bytes, bytes], ...] = ()


def refused(status: int, error_type: str, text: str, *headers: tuple[bytes, bytes]) -> Answer:
    """The answer to a request that would be refused again."""
    return Answer(status, {"error": text, "error_type": error_type, "retryable": False}, headers)


def retryable(status: int, error_type: str, text: str, *headers: tuple[bytes, bytes]) -> Answer:
    """The answer to a request that may succeed later."""
    return Answer(status, {"error": text, "error_type": error_type, "retryable": True}, headers)


async def send_json(send: Send, answer: Answer) -> None:
    """Send the answer; a client that has gone meanwhile is no error."""
    # Escaped to ASCII, so that no text of an error can make the answer itself fail.
    body = json.dumps(answer.body).encode("ascii")
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        *answer.headers,
    ]
    try:
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
    except OSError:
        logger.debug("The client was gone before the answer", extra={"status": answer.status})
