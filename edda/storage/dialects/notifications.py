"""LISTEN and NOTIFY of PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Self

from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util import greenlet_spawn

from edda.exceptions import StorageError

ANSWER_SECONDS = 5.0
FAREWELL_SECONDS = 1.0

# Notifications stay within their database; the number of a table tells schemas apart.
_CHANNEL = "SELECT 'edda_' || CAST(CAST('workflow_instances' AS regclass) AS oid)"
_NOTIFY = text(
    "SELECT pg_notify('edda_' || CAST(CAST('workflow_instances' AS regclass) AS oid), CAST(:payload AS text))"
)


def send(connection: Connection, payload: str) -> None:
    """Notify all who listen, in the transaction of this connection."""
    connection.execute(_NOTIFY, {"payload": payload})


class PostgreSQLLine:
    """A connection that listens, and does nothing else."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        self._broken = asyncio.Event()
        driver.add_termination_listener(self._note_end)

    @classmethod
    async def open(cls, engine: AsyncEngine, hear: Callable[[str], None]) -> Self:
        """Connect as the engine does, and listen."""
        line = cls(await greenlet_spawn(_connect, engine))
        try:
            await line._listen(hear)
        except BaseException:
            await line.close()
            raise
        return line

    async def _listen(self, hear: Callable[[str], None]) -> None:
        def note(_connection: object, _pid: int, _channel: str, payload: str) -> None:
            hear(payload)

        async with asyncio.timeout(ANSWER_SECONDS):
            await self._driver.add_listener(await self._driver.fetchval(_CHANNEL), note)

    def _note_end(self, _connection: object) -> None:
        self._broken.set()

    async def wait_until_broken(self) -> None:
        """Wait until the other side has closed, or the network says that it is gone."""
        await self._broken.wait()

    async def check(self) -> None:
        """Send an empty query: its answer shows that the other side is there."""
        async with asyncio.timeout(ANSWER_SECONDS):
            await self._driver.fetch("")

    async def close(self) -> None:
        """Say farewell for a bounded time, then cut the line."""
        try:
            await self._driver.close(timeout=FAREWELL_SECONDS)
        except Exception:  # noqa: BLE001 - the other side may be gone; all that is left is to end this one
            self._driver.terminate()


def _connect(engine: AsyncEngine) -> Any:
    if engine.dialect.driver != "asyncpg":
        raise StorageError(f"the driver {engine.dialect.driver} cannot listen, asyncpg can")
    # A pool of its own makes connections in the same way, and is never exhausted by others.
    connection = engine.sync_engine.pool.recreate().connect()
    driver = connection.driver_connection
    connection.detach()
    return driver
