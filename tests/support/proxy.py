"""A TCP proxy before a database server that loses, delays and withholds on request."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from enum import Enum, auto
from typing import Any

from tests.support.eventually import pause
from tests.support.server import DatabaseServer
from tests.support.wire import Decoder, MySQLDecoder, PostgreSQLDecoder

CHUNK = 64 * 1024

DECODERS: dict[str, Callable[[], Decoder]] = {"postgresql": PostgreSQLDecoder, "mysql": MySQLDecoder}


class CommitFault(Enum):
    """What becomes of a COMMIT; the client sees a lost connection either way."""

    REQUEST_LOST = auto()  # the server never sees it and rolls back
    ANSWER_LOST = auto()  # the server has committed, and nobody tells the client


class FaultProxy:
    """Forwards connections to one server, until a test asks for trouble.

    ::

        async with proxy_to(server) as proxy:
            engine = create_async_engine(proxy.url_for(database))
            proxy.fail_next_commit(CommitFault.ANSWER_LOST)
    """

    def __init__(self, server: DatabaseServer) -> None:
        self._server = server
        self._new_decoder = DECODERS[server.admin_url.get_backend_name()]
        self._listener: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self._refusing = False
        self._commit_faults: list[CommitFault] = []
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.latency = 0.0
        """Seconds by which everything is late, in each direction."""
        self.commits = 0
        """How many times clients have sent COMMIT."""

    @property
    def port(self) -> int:
        assert self._listener is not None, "the proxy is not running"
        return int(self._listener.sockets[0].getsockname()[1])

    def url_for(self, database: str) -> str:
        """The URL of a database of the server, through this proxy."""
        return self._server.url_for(database, port=self.port)

    def fail_next_commit(self, fault: CommitFault) -> None:
        """Do this to the next COMMIT of any client; calls add up, one fault per COMMIT."""
        self._commit_faults.append(fault)

    def cut(self) -> None:
        """Break every connection there is; new ones are possible."""
        for link in list(self._links):
            link.break_off()

    def refuse(self) -> None:
        """Break every connection and let no new one come about, until `accept`."""
        self._refusing = True
        self.cut()

    def accept(self) -> None:
        """Let new connections through again."""
        self._refusing = False

    def black_hole(self) -> None:
        """Withhold every byte in both directions, also of new connections, until `heal`."""
        self._flowing.clear()

    def heal(self) -> None:
        """Deliver what was withheld and let everything through again."""
        self._flowing.set()

    async def start(self) -> None:
        self._listener = await asyncio.start_server(self._connected, "127.0.0.1", 0, limit=CHUNK)

    async def close(self) -> None:
        """Break every connection and stop listening."""
        assert self._listener is not None, "the proxy is not running"
        self._listener.close()
        links = list(self._links)
        self.cut()
        await asyncio.gather(*(link.ended.wait() for link in links))

    def next_commit_fault(self) -> CommitFault | None:
        """Count a COMMIT and tell what shall become of it."""
        self.commits += 1
        return self._commit_faults.pop(0) if self._commit_faults else None

    async def let_pass(self) -> None:
        """Hold a delivery back for as long as the present trouble asks."""
        if self.latency:
            await pause(self.latency)
        await self._flowing.wait()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            writer.transport.abort()
            return
        link = _Link(self, reader, writer, self._new_decoder())
        self._links.add(link)
        try:
            await link.run(self._server.host, self._server.port)
        finally:
            self._links.discard(link)


class _Link:
    """One client's connection and the connection to the server that belongs to it."""

    def __init__(
        self, proxy: FaultProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, decoder: Decoder
    ) -> None:
        self._proxy = proxy
        self._from_client = reader
        self._to_client = writer
        self._decoder = decoder
        self._swallowed: bytes | None = None
        self._broken = asyncio.Event()
        self.ended = asyncio.Event()

    def break_off(self) -> None:
        self._broken.set()

    async def run(self, host: str, port: int) -> None:
        transports = [self._to_client.transport]
        tasks: list[asyncio.Task[Any]] = [asyncio.create_task(self._broken.wait())]
        try:
            # A server that is down looks to the client like a connection lost at once.
            with contextlib.suppress(OSError):
                from_server, to_server = await asyncio.open_connection(host, port, limit=CHUNK)
                transports.append(to_server.transport)
                tasks.append(asyncio.create_task(self._pump_requests(to_server)))
                tasks.append(asyncio.create_task(self._pump_answers(from_server)))
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            for transport in transports:
                transport.abort()
            self.ended.set()
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, ConnectionError):
                raise result

    async def _pump_requests(self, to_server: asyncio.StreamWriter) -> None:
        while data := await self._from_client.read(CHUNK):
            for frame in self._decoder.feed(data):
                fault = self._proxy.next_commit_fault() if frame.commits else None
                if fault is CommitFault.REQUEST_LOST:
                    return
                if fault is CommitFault.ANSWER_LOST:
                    self._swallowed = b""
                await self._forward(frame.data, to_server)

    async def _pump_answers(self, from_server: asyncio.StreamReader) -> None:
        while data := await from_server.read(CHUNK):
            if self._swallowed is None:
                await self._forward(data, self._to_client)
                continue
            self._swallowed += data
            if self._decoder.answered(self._swallowed):
                return

    async def _forward(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        await self._proxy.let_pass()
        writer.write(data)
        await writer.drain()


@contextlib.asynccontextmanager
async def proxy_to(server: DatabaseServer) -> AsyncIterator[FaultProxy]:
    """A proxy before this server for the length of the block."""
    proxy = FaultProxy(server)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.close()
