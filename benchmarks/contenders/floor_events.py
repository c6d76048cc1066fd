"""The floor of events in and out: a bare ASGI application that stores nothing, and a bare HTTP client."""

# mypy: disable-error-code="import-not-found"
# (event_load is found beside the script.)

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import httpx2
from event_load import arguments, measure

BODY = b'{"status": "accepted"}'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY))]
AT_ONCE = 10  # as many as a relayer sends


async def application(_scope: Any, receive: Any, send: Any) -> None:
    """Read the event and answer."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    json.loads(body)
    await send({"type": "http.response.start", "status": 202, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})


def event(number: int) -> bytes:
    """What a relayer posts."""
    attributes = {
        "specversion": "1.0",
        "id": f"event-{number}",
        "source": f"/bench/{number % 100}",
        "type": "bench.event",
        "time": "2024-01-01T00:00:00Z",
        "datacontenttype": "application/json",
    }
    return json.dumps({**attributes, "data": {"number": number, "customer": "c-1001"}}).encode()


class Floor:
    """No database at all."""

    starts_workflows = False

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Any]:
        yield application

    async def record(self, url: str, first: int, count: int) -> None:  # noqa: ARG002  of every contender
        self._numbers = range(first, first + count)

    @contextlib.asynccontextmanager
    async def sending(self, url: str) -> AsyncIterator[None]:
        async with client() as http:
            numbers = iter(self._numbers)
            await asyncio.gather(*(_send(http, url, numbers) for _ in range(AT_ONCE)))
            yield

    @contextlib.asynccontextmanager
    async def announcing(self, url: str) -> AsyncIterator[Callable[[], Awaitable[str]]]:
        numbers = iter(range(1_000_000))
        async with client() as http:

            async def one() -> str:
                number = next(numbers)
                await _send(http, url, iter([number]))
                return f"event-{number}"

            yield one


def client() -> httpx2.AsyncClient:
    limits = httpx2.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE)
    return httpx2.AsyncClient(limits=limits, headers={"content-type": "application/cloudevents+json"})


async def _send(http: httpx2.AsyncClient, url: str, numbers: Iterator[int]) -> None:
    for number in numbers:
        (await http.post(url, content=event(number))).raise_for_status()


async def main() -> None:
    args = arguments()
    await measure(Floor(), args)


asyncio.run(main())
