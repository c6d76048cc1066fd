"""The broker of the outbox loads: takes every event, and tells when it had each id first.

A process of its own, so that what it costs is not in the figures of the sender. Only the
standard library is used. It prints its port; a line ``N`` of input asks for the report once
so many different events are there: JSON of seconds on the clock of ``time.monotonic`` by id.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

ANSWER = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n"
arrivals: dict[str, float] = {}
posts = 0
arrived = asyncio.Event()


class Sink(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while True:
            head, separator, rest = self._received.partition(b"\r\n\r\n")
            if not separator:
                return
            size = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
            if len(rest) < size:
                return
            self._take(head, rest[:size])
            self._received = rest[size:]

    def _take(self, head: bytes, body: bytes) -> None:
        global posts  # noqa: PLW0603 - the one counter of this process
        posts += 1
        in_header = head.lower().partition(b"\r\nce-id:")[2].split(b"\r\n", 1)[0].strip()
        arrivals.setdefault(in_header.decode() or json.loads(body)["id"], time.monotonic())
        arrived.set()
        self._transport.write(ANSWER)


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Sink, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        while len(arrivals) < int(line):
            arrived.clear()
            await arrived.wait()
        print(json.dumps({"arrivals": arrivals, "posts": posts}), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
