"""A database for every measurement, empty or a copy, and how durable its commits are."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
from sqlalchemy import make_url, text
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
    """Hands out databases; a server is started at its first use."""

    def __init__(self, reaper: Reaper, directory: Path | None) -> None:
        self._reaper = reaper
        self._directory = directory or Path(tempfile.gettempdir())
        self._servers: dict[Database, DatabaseServer] = {}
        self._kept = contextlib.AsyncExitStack()

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

    async def kept(self, database: Database) -> str:
        """The URL of an empty database that stays until `close`, so that it can be filled and copied."""
        return await self._kept.enter_async_context(self.fresh(database))

    @contextlib.asynccontextmanager
    async def copy(self, database: Database, url: str) -> AsyncIterator[str]:
        """The URL of a copy, which goes away at the end, of a database that nobody has open. Not MariaDB."""
        if database is Database.SQLITE:
            async with self.fresh(database) as copy:
                await asyncio.to_thread(
                    _copy_file, *(Path(str(make_url(one).database)) for one in (url, copy))
                )
                yield copy
            return
        server = await self._server(database)
        assert isinstance(server, postgresql_server.PostgreSQLServer)
        name = await server.copy_database(str(make_url(url).database))
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
        """Remove what was kept, and stop the servers that were started here."""
        await self._kept.aclose()
        for server in self._servers.values():
            await server.close()

    async def _server(self, database: Database) -> DatabaseServer:
        if database not in self._servers:
            module = postgresql_server if database is Database.POSTGRESQL else mysql_server
            self._servers[database] = await module.open_shared(self._reaper)
        return self._servers[database]


def _copy_file(source: Path, target: Path) -> None:
    """Down to the disk, so that the first commits of a measurement do not wait for it."""
    shutil.copyfile(source, target)
    with target.open("rb") as file:
        os.fsync(file.fileno())


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
