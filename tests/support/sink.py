"""A broker for tests: takes posted events, and answers, stalls and dies as told."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from edda.clock import monotonic
from tests.support.eventually import eventually, pause

_DRIP_SECONDS = 0.02


@dataclass(frozen=True)
class Reply:
    """What to answer; ``after`` holds the answer back until it is set, ``drips`` sends it byte by byte."""

    status: int = 202
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    after: asyncio.Event | None = None
    drips: bool = False


@dataclass(frozen=True)
class Received:
    """One POST."""

    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def event(self) -> dict[str, Any]:
        """The event of the structured mode."""
        event: dict[str, Any] = json.loads(self.body)
        return event

    @property
    def id(self) -> str:
        event_id: str = self.event["id"]
        return event_id


Behaviour = Callable[[Received], Reply]


class Sink:
    """One HTTP server on a port that stays its own when it stops and starts again."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.behaviour: Behaviour = lambda _: Reply()
        self.together: Counter[str] = Counter()
        """The most requests that were open at the same time, by source."""
        self._open: Counter[str] = Counter()
        self._port = 0
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[Any], asyncio.StreamWriter] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuse connections, and cut those that are open."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
            for task, writer in self._connections.items():
                writer.transport.abort()
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)
            self._connections.clear()
            await server.wait_closed()

    def answer(self, *statuses: int, then: int = 202, **fields: Any) -> None:
        """Answer each event with these statuses in turn, from then on with the last one."""
        seen: Counter[str] = Counter()

        def behave(received: Received) -> Reply:
            turn = seen[received.id]
            seen[received.id] += 1
            return Reply(statuses[turn], **fields) if turn < len(statuses) else Reply(then)

        self.behaviour = behave

    def data(self) -> list[Any]:
        """The data of the posts so far."""
        return [received.event["data"] for received in self.received]

    async def takes(self, count: int) -> Sequence[Received]:
        """Wait for so many posts; fails when there are more."""

        def check() -> None:
            assert len(self.received) >= count, f"{len(self.received)} posts of {count}"

        await eventually(check)
        assert len(self.received) == count, self.data()
        return self.received

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = writer
        # Ended by stop(): a cancelled task would be reported as an error of the server.
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                await self._take_one(reader, writer)
        self._connections.pop(task, None)
        writer.close()

    async def _take_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        lines = (line.partition(": ") for line in head.split("\r\n")[1:] if line)
        headers = {name.lower(): value for name, _, value in lines}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        received = Received(headers, body, monotonic())
        self.received.append(received)
        reply = self.behaviour(received)
        with self._counted(received):
            if reply.after is not None:
                await reply.after.wait()
        lines_out = [f"HTTP/1.1 {reply.status} Status", f"content-length: {len(reply.body.encode())}"]
        lines_out += [f"{name}: {value}" for name, value in reply.headers.items()]
        writer.write(("\r\n".join(lines_out) + "\r\n\r\n").encode())
        for byte in reply.body if reply.drips else [reply.body]:
            writer.write(byte.encode())
            await writer.drain()
            if reply.drips:
                await pause(_DRIP_SECONDS)

    @contextlib.contextmanager
    def _counted(self, received: Received) -> Any:
        structured = received.headers.get("content-type", "").startswith("application/cloudevents")
        source = received.event["source"] if structured else received.headers.get("ce-source", "")
        self._open[source] += 1
        self.together[source] = max(self.together[source], self._open[source])
        try:
            yield
        finally:
            self._open[source] -= 1


@contextlib.asynccontextmanager
async def running_sink() -> AsyncIterator[Sink]:
    """A sink that takes everything until told otherwise."""
    sink = Sink()
    await sink.start()
    try:
        yield sink
    finally:
        await sink.stop()
