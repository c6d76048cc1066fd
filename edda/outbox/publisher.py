"""Sending one event: the port that relayers know, and the broker behind HTTP."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from edda.cloudevent import Event
from edda.cloudevent_http import Form, binary, new_client, structured
from edda.outbox.answers import LONGEST_ANSWER, Answer, answer_of, no_answer

if TYPE_CHECKING:
    import httpx2

FORMS: dict[str, Form] = {"structured": structured, "binary": binary}
TRACE_HEADERS = ("traceparent", "tracestate")
# Beyond this the connection is given up rather than read to its end.
_LONGEST_BODY = 64 * 1024

Authorization = str | Callable[[], str | Awaitable[str]]


class Publisher(Protocol):
    """Where events go: an object with these three methods, whatever its class.

    ::

        class Queue:
            async def open(self) -> None:
                self.connection = await connect("mq://localhost")

            async def publish(self, event: Event) -> Answer:
                await self.connection.send(event["type"], json.dumps(event.to_json_object()))
                return Published()

            async def close(self) -> None:
                await self.connection.close()
    """

    async def open(self) -> None:
        """Get ready to send."""
        ...

    async def publish(self, event: Event) -> Answer:
        """Make one attempt; it is cancelled after ``send_seconds`` of the relayer.

        :class:`~edda.outbox.Published`, or :class:`~edda.outbox.Refused` for what will never be taken,
        or :class:`~edda.outbox.Postponed`. What it raises says that the broker is away.
        """
        ...

    async def close(self) -> None:
        """Release what was opened. Harmless when repeated."""
        ...


class HttpPublisher:
    """Posts events to one URL over pooled connections."""

    def __init__(
        self,
        url: str,
        *,
        connections: int,
        seconds: float,
        mode: str,
        headers: Mapping[str, str],
        authorization: Authorization | None,
        trace_headers: bool,
    ) -> None:
        self._url = url
        self._connections = connections
        self._seconds = seconds
        self._form = FORMS[mode]
        self._headers = dict(headers)
        self._authorization = authorization
        self._trace_headers = trace_headers
        self._client: httpx2.AsyncClient | None = None

    async def open(self) -> None:
        """Make the client; connections follow with the first events."""
        if self._client is None:
            self._client = new_client(seconds=self._seconds, connections=self._connections)

    async def close(self) -> None:
        """Close the connections. Harmless when repeated."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def publish(self, event: Event) -> Answer:
        """One POST, over in time whatever the other side does."""
        if self._client is None:
            raise RuntimeError("the publisher is not open")
        import httpx2

        request = self._form(event)
        headers = {**self._headers, **await self._own_headers(event), **request.headers}
        try:
            # The client limits each read and write; a broker that sends a byte now and
            # then would outlast the lease.
            async with (
                asyncio.timeout(self._seconds),
                self._client.stream("POST", self._url, headers=headers, content=request.content) as response,
            ):
                return answer_of(response.status_code, response.headers, await _beginning(response))
        except TimeoutError:
            return no_answer(TimeoutError(f"no answer within {self._seconds:g} seconds"))
        except httpx2.HTTPError as error:
            return no_answer(error)

    async def _own_headers(self, event: Event) -> dict[str, str]:
        headers: dict[str, str] = {}
        if self._trace_headers:
            headers |= {name: str(event[name]) for name in TRACE_HEADERS if name in event}
        if isinstance(self._authorization, str):
            headers["authorization"] = self._authorization
        elif self._authorization is not None:
            value = self._authorization()
            headers["authorization"] = await value if inspect.isawaitable(value) else value
        return headers


async def _beginning(response: httpx2.Response) -> str:
    """The beginning of the answer as text that every database can store; read whole if it is short."""
    body = b""
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > _LONGEST_BODY:
            break
    text = body[: LONGEST_ANSWER * 4].decode(errors="replace").replace("\0", "�").strip()
    return text[:LONGEST_ANSWER] or response.reason_phrase
