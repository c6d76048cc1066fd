"""An empty database for each test, on servers that are started once and only when needed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final, Literal, NoReturn

import psutil
import pytest

from tests.support import mysql_server, postgresql_server
from tests.support.eventually import PATIENCE, eventually
from tests.support.reaper import Reaper
from tests.support.server import DatabaseServer, ServerUnavailableError

DatabaseKind = Literal["sqlite", "postgresql", "mysql"]
ServerKind = Literal["postgresql", "mysql"]

REQUIRE_VARIABLE: Final = "EDDA_REQUIRE_DATABASES"
# Servers see the end of a connection a moment after the client closed it.
CLOSING_GRACE: Final = PATIENCE

_SHARED: Final[dict[ServerKind, Callable[[Reaper], Awaitable[DatabaseServer]]]] = {
    "postgresql": postgresql_server.open_shared,
    "mysql": mysql_server.open_shared,
}
PRIVATE_SERVERS: Final[dict[ServerKind, Callable[[Reaper], Awaitable[DatabaseServer]]]] = {
    "postgresql": postgresql_server.open_private,
    "mysql": mysql_server.open_private,
}


class Databases:
    """The servers of one test session and the databases handed out from them."""

    def __init__(self, reaper: Reaper) -> None:
        self._reaper = reaper
        self._servers: dict[ServerKind, DatabaseServer] = {}
        self._missing: dict[ServerKind, str] = {}

    @contextlib.asynccontextmanager
    async def fresh(self, kind: DatabaseKind, directory: Path) -> AsyncIterator[str]:
        """The URL of an empty database; fails if connections to it are open at the end."""
        if kind == "sqlite":
            manager = fresh_file(directory)
        else:
            manager = fresh_database(await self.shared_server(kind))
        async with manager as url:
            yield url

    async def shared_server(self, kind: ServerKind) -> DatabaseServer:
        """The server all tests share; skips the test if there is none."""
        if kind in self._missing:
            unavailable(self._missing[kind])
        if kind not in self._servers:
            try:
                self._servers[kind] = await _SHARED[kind](self._reaper)
            except ServerUnavailableError as error:
                self._missing[kind] = str(error)
                unavailable(str(error))
        return self._servers[kind]

    @contextlib.asynccontextmanager
    async def private_server(self, kind: ServerKind) -> AsyncIterator[DatabaseServer]:
        """A server for one test alone, which may stop and kill it."""
        try:
            server = await PRIVATE_SERVERS[kind](self._reaper)
        except ServerUnavailableError as error:
            unavailable(str(error))
        try:
            yield server
        finally:
            await server.close()

    async def close(self) -> None:
        """Stop the servers that were started here."""
        for server in self._servers.values():
            await server.close()


@contextlib.asynccontextmanager
async def fresh_database(server: DatabaseServer) -> AsyncIterator[str]:
    """A database on this server that exists as long as the block."""
    database = await server.create_database()
    try:
        yield server.url_for(database)

        async def check_closed() -> None:
            open_connections = await server.count_connections(database)
            assert open_connections == 0, f"the test left {open_connections} connections open"

        await eventually(check_closed, within=CLOSING_GRACE)
    finally:
        await server.drop_database(database)


@contextlib.asynccontextmanager
async def fresh_file(directory: Path) -> AsyncIterator[str]:
    """A SQLite file that does not exist yet, and that nobody may have open at the end."""
    path = directory / "edda.db"
    yield f"sqlite:///{path}"

    def check_closed() -> None:
        open_files = [file.path for file in psutil.Process().open_files() if file.path.startswith(str(path))]
        assert not open_files, f"the test left files open: {open_files}"

    await eventually(check_closed, within=CLOSING_GRACE)


def unavailable(reason: str) -> NoReturn:
    """Skip the test, or fail it where the databases are required."""
    if os.environ.get(REQUIRE_VARIABLE) == "1":
        pytest.fail(f"{REQUIRE_VARIABLE}=1, but {reason}", pytrace=False)
    pytest.skip(reason)
