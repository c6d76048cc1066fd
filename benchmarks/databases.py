"""A fresh database for every measurement, and how durable its commits are."""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from benchmarks.cells import Database
from benchmarks.measurement import ASYNC_DRIVERS
from tests.support import mysql_server, postgresql_server
from tests.support.reaper import Reaper
from tests.support.server import DatabaseServer

# What has to be so for a commit to survive a power failure.
DURABLE = {
    Database.POSTGRESQL: {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"},
    Database.MYSQL: {"innodb_flush_log_at_trx_commit": "1"},
}
ASK_SETTING = {Database.POSTGRESQL: "SHOW {}", Database.MYSQL: "SELECT @@{}"}
ASK_VERSION = {Database.POSTGRESQL: "SHOW server_version", Database.MYSQL: "SELECT version()"}
VOLATILE_FILE_SYSTEMS = {"tmpfs", "ramfs"}


class Databases:
    """Hands out empty databases; a server is started at its first use."""

    def __init__(self, reaper: Reaper, directory: Path | None) -> None:
        self._reaper = reaper
        self._directory = directory or Path(tempfile.gettempdir())
        self._servers: dict[Database, DatabaseServer] = {}

    @contextlib.asynccontextmanager
    async def fresh(self, database: Database) -> AsyncIterator[str]:
        """The URL of an empty database that goes away at the end."""
        if database is Database.SQLITE:
            with tempfile.TemporaryDirectory(prefix="edda-bench-", dir=self._directory) as directory:
                yield f"sqlite:///{directory}/bench.db"
            return
        server = await self._server(database)
        name = await server.create_database()
        try:
            yield server.url_for(name)
        finally:
            await server.drop_database(name)

    async def describe(self, database: Database) -> dict[str, str]:
        """Where the data lies and the settings on which the durability of a commit depends."""
        if database is Database.SQLITE:
            return {"version": sqlite3.sqlite_version, "file_system": file_system(self._directory)}
        async with self.fresh(database) as url:
            return await _settings(database, url)

    async def close(self) -> None:
        """Stop the servers that were started here."""
        for server in self._servers.values():
            await server.close()

    async def _server(self, database: Database) -> DatabaseServer:
        if database not in self._servers:
            module = postgresql_server if database is Database.POSTGRESQL else mysql_server
            self._servers[database] = await module.open_shared(self._reaper)
        return self._servers[database]


async def _settings(database: Database, url: str) -> dict[str, str]:
    engine = create_async_engine(f"{ASYNC_DRIVERS[database]}{url[url.index(':') :]}")
    try:
        async with engine.connect() as connection:
            questions = {"version": ASK_VERSION[database]}
            questions |= {name: ASK_SETTING[database].format(name) for name in DURABLE[database]}
            return {
                name: str(await connection.scalar(text(question))) for name, question in questions.items()
            }
    finally:
        await engine.dispose()


def file_system(directory: Path) -> str:
    """The type of the file system that a directory lies on, as the system calls it."""
    resolved = directory.resolve()
    mounts = {Path(part.mountpoint): part.fstype for part in psutil.disk_partitions(all=True)}
    return next((mounts[place] for place in (resolved, *resolved.parents) if place in mounts), "unknown")


def warnings(database: Database, settings: dict[str, str]) -> list[str]:
    """Why figures from this database would flatter everybody."""
    if settings.get("file_system") in VOLATILE_FILE_SYSTEMS:
        return [f"{database}: the file lies in memory ({settings['file_system']}), so a commit costs nothing"]
    return [
        f"{database}: {name} is {settings[name]}, so commits are not durable"
        for name, wanted in DURABLE.get(database, {}).items()
        if name in settings and settings[name].lower() != wanted
    ]
