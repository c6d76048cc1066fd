"""The event endpoint on a real server and real sockets: good, bad and absent clients."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import psutil
import pytest

from tests.support.eventually import PATIENCE, eventually
from tests.support.workers import Worker, Workers

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
COMPLETE: dict[str, Any] = {"specversion": "1.0", "id": "7", "source": "/shop", "type": "order.created"}


@dataclass
class _Server:
    process: Worker
    port: int

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def exchange(self, head: str, *parts: bytes) -> tuple[int, Any]:
        """Send a request in parts over a connection of its own; returns status and JSON."""
        reader, writer = await self.connect()
        try:
            writer.write(f"{head}\r\nhost: test\r\n\r\n".encode())
            for part in parts:
                writer.write(part)
                await writer.drain()
            async with asyncio.timeout(PATIENCE):
                raw = await reader.readuntil(b"\r\n\r\n")
                length = int(raw.lower().partition(b"content-length: ")[2].split()[0])
                return int(raw.split()[1]), json.loads(await reader.readexactly(length))
        finally:
            writer.close()

    async def report(self) -> dict[str, Any]:
        _, report = await self.exchange("GET /report HTTP/1.1")
        assert isinstance(report, dict)
        return report


@pytest.fixture(params=[60.0])
async def server(request: pytest.FixtureRequest, workers: Workers) -> AsyncIterator[_Server]:
    """The parameter is how many seconds clients may take for a body."""
    process = await workers.start("tests.support.endpoint_server:serve", request.param)
    line = await process.wait_for_line(r"port (\d+)")
    yield _Server(process, int(line[1]))
    await process.terminate()
    assert "ERROR" not in process.output
    assert "Traceback" not in process.output


async def test_a_real_server_takes_events_in_every_mode(server: _Server) -> None:
    body = json.dumps(COMPLETE).encode()
    attributes = "".join(f"\r\nce-{name}: {value}" for name, value in {**COMPLETE, "id": "8"}.items())
    batch = json.dumps([{**COMPLETE, "id": "9"}, {**COMPLETE, "id": "10"}]).encode()
    answers = [
        await server.exchange(
            f"POST / HTTP/1.1\r\ncontent-type: {STRUCTURED}\r\ncontent-length: {len(body)}", body
        ),
        await server.exchange(
            f"POST /x HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: 2{attributes}", b"{", b"}"
        ),
        await server.exchange(
            f"POST / HTTP/1.1\r\ncontent-type: {BATCH}\r\ncontent-length: {len(batch)}", batch
        ),
    ]
    assert answers == [(202, {"status": "accepted"})] * 3
    assert (await server.report())["accepted"] == ["7", "8", "9", "10"]


async def test_clients_that_leave_in_the_middle_disturb_nobody(server: _Server) -> None:
    head = f"POST / HTTP/1.1\r\nhost: test\r\ncontent-type: {STRUCTURED}\r\ncontent-length: 100\r\n\r\n"

    async def leave() -> None:
        _, writer = await server.connect()
        writer.write(head.encode() + b"{")
        await writer.drain()
        writer.close()

    async def ping() -> None:
        assert (await server.exchange("GET /ping HTTP/1.1"))[0] == 200

    leaving = [asyncio.create_task(leave()) for _ in range(50)]
    for _ in range(50):
        await ping()
    await asyncio.gather(*leaving)
    await ping()
    assert (await server.report())["accepted"] == []
    process = psutil.Process(server.process.pid)

    def check_idle() -> None:
        assert process.cpu_percent(interval=0.1) < 20

    await eventually(check_idle)


@pytest.mark.parametrize("server", [1.0], indirect=True)
async def test_clients_that_stay_and_say_nothing_more_hold_up_nobody_and_are_sent_away(
    server: _Server,
) -> None:
    """Others are served while all of them wait; the server then closes their connections by itself."""
    head = f"POST / HTTP/1.1\r\nhost: test\r\ncontent-type: {STRUCTURED}\r\ncontent-length: 100\r\n\r\n"
    silent = [await server.connect() for _ in range(50)]
    for _, writer in silent:
        writer.write(head.encode() + b"{")
        await writer.drain()
    for _ in range(50):
        assert (await server.exchange("GET /ping HTTP/1.1"))[0] == 200
    async with asyncio.timeout(PATIENCE):
        answers = await asyncio.gather(*(reader.read() for reader, _ in silent))
    assert [answer.split()[1] for answer in answers] == [b"408"] * 50
    assert all(b"connection: close" in answer for answer in answers)
    for _, writer in silent:
        writer.close()
    assert (await server.report())["accepted"] == []


@pytest.mark.parametrize("framing", ["content-length: 20971520", "transfer-encoding: chunked"])
async def test_a_large_body_is_refused_without_being_kept(server: _Server, framing: str) -> None:
    part = b"x" * 65_536
    if "chunked" in framing:
        part = b"%x\r\n%s\r\n" % (len(part), part)
    await server.report()
    status, answer = await server.exchange(
        f"POST / HTTP/1.1\r\ncontent-type: {STRUCTURED}\r\n{framing}", *[part] * 320
    )
    assert (status, answer["error_type"]) == (413, "PayloadTooLarge")
    assert answer["error"] == "Request body exceeds 1048576 bytes"
    assert (await server.report())["memory_growth"] < 4_000_000


async def test_a_client_that_asks_first_need_not_send_a_large_body(server: _Server) -> None:
    status, _ = await server.exchange("POST / HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 20971520")
    assert status == 413


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_a_real_server_allows_only_post(server: _Server, method: str) -> None:
    status, answer = await server.exchange(f"{method} / HTTP/1.1\r\ncontent-length: 0")
    assert (status, answer["error_type"]) == (405, "MethodNotAllowed")
