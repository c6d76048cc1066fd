"""A private NATS server with JetStream, where one is installed."""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import nats
from nats.errors import Error

from tests.support.eventually import eventually
from tests.support.reaper import Reaper
from tests.support.server import ServerProcess, free_port, new_directory

START_SECONDS = 30.0
PLACES = "/usr/sbin:/usr/local/bin:/usr/bin"


def find_nats_server() -> str | None:
    """The program, also where the PATH of a user does not lead."""
    return shutil.which("nats-server") or shutil.which("nats-server", path=PLACES)


class NatsServer:
    """One server on a port and a folder that stay its own when it is killed and started again."""

    def __init__(self, process: ServerProcess, port: int) -> None:
        self._process = process
        self._port = port

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self._port}"

    async def start(self) -> None:
        await self._process.start()

        async def check() -> None:
            self._process.check_alive()
            client = await nats.connect(self.url, allow_reconnect=False, connect_timeout=1)
            try:
                await client.jetstream().account_info()
            finally:
                await client.close()

        await eventually(check, within=START_SECONDS, retry_on=(Error, OSError, asyncio.TimeoutError))

    async def kill(self) -> None:
        await self._process.kill()


@asynccontextmanager
async def running_nats_server(program: str, reaper: Reaper) -> AsyncIterator[NatsServer]:
    """A server for the length of the block."""
    directory = new_directory("edda-nats-", reaper)
    port = free_port()
    command = [program, "--jetstream", "--store_dir", str(directory / "data"), "--addr", "127.0.0.1"]
    process = ServerProcess(directory, [*command, "--port", str(port)], signal.SIGTERM, reaper)
    server = NatsServer(process, port)
    try:
        await server.start()
        yield server
    finally:
        await process.kill()
        process.remove_directory()
