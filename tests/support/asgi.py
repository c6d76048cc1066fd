"""A small ASGI server side for tests: one request, or the lifespan, without sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from edda.endpoints.authentication import Authenticate
from edda.types import Message, Receive, Scope, Send
from tests.support.eventually import PATIENCE

ASGIApplication = Callable[[Scope, Receive, Send], Awaitable[None]]


class LifespanFailedError(Exception):
    """The application reported that its startup or shutdown failed."""


class IncompleteResponseError(Exception):
    """The application returned without having sent a whole response."""


@dataclass
class Limits:
    """What an endpoint asks for each request; may be changed between them."""

    max_body_size: int = 1000
    body_seconds: float = 30.0
    authenticate: Authenticate | None = None


@dataclass(frozen=True)
class Response:
    """What the application answered; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


async def request(
    app: ASGIApplication,
    method: str,
    path: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | Iterable[bytes] = b"",
    disconnect: bool = False,
) -> Response:
    """Send one request and return the whole response.

    A body that is not ``bytes`` arrives in these chunks. With ``disconnect`` the
    client goes away after the chunks, before the body is complete.
    """
    chunks = [body] if isinstance(body, bytes) else list(body)
    receive = _receiver(chunks, disconnect=disconnect)
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async with asyncio.timeout(PATIENCE):
        await app(_http_scope(method, path, headers or {}), receive, send)
    return _response(sent)


def _http_scope(method: str, path: str, headers: Mapping[str, str]) -> Scope:
    raw_path, _, query = path.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(raw_path),
        "raw_path": raw_path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [
            (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()
        ],
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 8000),
    }


def _receiver(chunks: list[bytes], *, disconnect: bool) -> Receive:
    messages: list[Message] = [
        {"type": "http.request", "body": chunk, "more_body": disconnect or number < len(chunks)}
        for number, chunk in enumerate(chunks, start=1)
    ]

    async def receive() -> Message:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    return receive


def _response(sent: list[Message]) -> Response:
    if not sent or sent[0]["type"] != "http.response.start":
        raise IncompleteResponseError(f"no response was started; sent: {sent}")
    start, *parts = sent
    if not parts or parts[-1].get("more_body", False):
        raise IncompleteResponseError(f"the response was not finished; sent: {sent}")
    headers = {
        name.decode("latin-1").lower(): value.decode("latin-1") for name, value in start.get("headers", [])
    }
    return Response(start["status"], headers, b"".join(part.get("body", b"") for part in parts))


@contextlib.asynccontextmanager
async def lifespan(app: ASGIApplication) -> AsyncIterator[None]:
    """Run the application's startup before the block and its shutdown after it, as a server does.

    Raises `LifespanFailedError` with the application's message if either fails.
    """
    driver = _Lifespan(app)
    await driver.exchange("lifespan.startup")
    try:
        yield
    finally:
        await driver.exchange("lifespan.shutdown")
        await asyncio.wait_for(driver.task, PATIENCE)


class _Lifespan:
    def __init__(self, app: ASGIApplication) -> None:
        self._to_app: asyncio.Queue[Message] = asyncio.Queue()
        self._from_app: asyncio.Queue[Message] = asyncio.Queue()
        scope: Scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
        self.task = asyncio.ensure_future(app(scope, self._to_app.get, self._from_app.put))

    async def exchange(self, event: str) -> None:
        await self._to_app.put({"type": event})
        answer = asyncio.create_task(self._from_app.get())
        await asyncio.wait({answer, self.task}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            answer.cancel()
            await self._stop()
            raise LifespanFailedError(f"the application did not answer {event}")
        message = answer.result()
        if message["type"] != f"{event}.complete":
            await self._stop()
            raise LifespanFailedError(message.get("message", message["type"]))

    async def _stop(self) -> None:
        if not self.task.done():
            self.task.cancel()
        # An application that raises has said so; its own error is the better one to show.
        results = await asyncio.gather(self.task, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result
