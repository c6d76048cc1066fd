"""The client of the ingest loads: posts CloudEvents over a fixed number of connections.

A process of its own, so that what it costs is not in the figures of the server. Only the
standard library is used::

    python posting.py PORT CONNECTIONS FIRST COUNT TYPE
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator


class Client(asyncio.Protocol):
    """One connection: its next request follows the answer to its last one."""

    def __init__(self, requests: Iterator[bytes], ended: asyncio.Future[None]) -> None:
        self._requests = requests
        self._ended = ended
        self._answer = b""
        self._sent = 0.0
        self.latencies: list[float] = []
        self.statuses: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._next()

    def _next(self) -> None:
        request = next(self._requests, None)
        if request is None:
            self._ended.set_result(None)
            self._transport.close()
            return
        self._sent = time.monotonic()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if not is_whole(self._answer):
            return
        self.latencies.append(time.monotonic() - self._sent)
        self.statuses.append(self._answer.split(b" ", 2)[1])
        self._answer = b""
        self._next()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._ended.done():
            self._ended.set_exception(error or ConnectionError("the server hung up"))


def is_whole(answer: bytes) -> bool:
    """Whether an answer has arrived to its end, by its length or in chunks."""
    head, separator, body = answer.partition(b"\r\n\r\n")
    if not separator:
        return False
    length = head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0]
    return len(body) >= int(length) if length else body.endswith(b"0\r\n\r\n")


def request(number: int, event_type: str) -> bytes:
    """One event in structured mode, of the size that events usually have."""
    event = {
        "specversion": "1.0",
        "id": f"event-{number}",
        "source": "/bench",
        "type": event_type,
        "time": "2024-01-01T00:00:00Z",
        "datacontenttype": "application/json",
        "data": {"number": number, "customer": "c-1001", "amount": 99.5, "items": ["book", "pen"]},
    }
    body = json.dumps(event).encode()
    head = (
        "POST / HTTP/1.1\r\nhost: bench\r\ncontent-type: application/cloudevents+json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def post(port: int, connections: int, requests: Iterator[bytes]) -> list[Client]:
    """All requests over so many connections."""
    loop = asyncio.get_running_loop()
    clients, ends = [], []
    for _ in range(connections):
        ended: asyncio.Future[None] = loop.create_future()
        _, client = await loop.create_connection(
            lambda ended=ended: Client(requests, ended),  # type: ignore[misc]
            "127.0.0.1",
            port,
        )
        clients.append(client)
        ends.append(ended)
    await asyncio.gather(*ends)
    return clients


async def main() -> None:
    port, connections, first, count = map(int, sys.argv[1:5])
    requests = [request(number, sys.argv[5]) for number in range(first, first + count)]
    began = time.monotonic()
    clients = await post(port, connections, iter(requests))
    ended = time.monotonic()
    statuses = {status.decode() for client in clients for status in client.statuses}
    latencies = [latency for client in clients for latency in client.latencies]
    print(
        json.dumps({"began": began, "ended": ended, "statuses": sorted(statuses), "latencies": latencies}),
        flush=True,
    )


if __name__ == "__main__":
    asyncio.run(main())
