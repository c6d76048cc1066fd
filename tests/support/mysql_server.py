"""MariaDB or MySQL for the tests: given by URL, or the MariaDB installed on the system."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiomysql
import pymysql
from sqlalchemy.engine import URL, make_url

from tests.support.eventually import PATIENCE
from tests.support.reaper import Reaper
from tests.support.server import (
    DatabaseServer,
    ServerDiedError,
    ServerNotReadyError,
    ServerProcess,
    ServerUnavailableError,
    as_unprivileged,
    free_port,
    new_database_name,
    new_directory,
)

URL_VARIABLE = "EDDA_TEST_MYSQL_URL"
# A server's program is often outside the PATH of users who are not root.
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", "/usr/bin"])
NO_SUCH_THREAD = 1094

# The session time zone is far from UTC so that code which relies on it fails.
OPTIONS = (
    "--bind-address=127.0.0.1",
    "--max-connections=300",
    "--innodb-buffer-pool-size=64M",
    "--innodb-log-file-size=16M",
    "--character-set-server=utf8mb4",
    "--performance-schema=OFF",
    "--default-time-zone=+05:45",
)


class MySQLServer(DatabaseServer):
    """A MariaDB or MySQL server, private or given."""

    @property
    def port(self) -> int:
        return self.admin_url.port or 3306

    async def create_database(self) -> str:
        database = new_database_name()
        async with self._cursor() as cursor:
            await cursor.execute(f"CREATE DATABASE {database}")
        return database

    async def drop_database(self, database: str) -> None:
        async with self._cursor() as cursor:
            # An open transaction would hold the drop back until it ends.
            for thread in await self._threads(cursor, database):
                try:
                    await cursor.execute(f"KILL {thread}")
                except pymysql.err.MySQLError as error:
                    if error.args[0] != NO_SUCH_THREAD:
                        raise
            await cursor.execute(f"DROP DATABASE {database}")

    async def count_connections(self, database: str) -> int:
        async with self._cursor() as cursor:
            return len(await self._threads(cursor, database))

    async def check_ready(self) -> None:
        try:
            async with self._cursor() as cursor:
                await cursor.execute("SELECT 1")
        except (OSError, pymysql.err.MySQLError) as error:
            raise ServerNotReadyError(str(error)) from error

    @contextlib.asynccontextmanager
    async def _cursor(self) -> AsyncIterator[Any]:
        url = self.admin_url
        connection = await aiomysql.connect(
            host=self.host,
            port=self.port,
            user=url.username or "root",
            password=url.password or "",
            autocommit=True,
            connect_timeout=PATIENCE,
        )
        try:
            async with connection.cursor() as cursor:
                yield cursor
        finally:
            connection.close()

    @staticmethod
    async def _threads(cursor: Any, database: str) -> Sequence[int]:
        await cursor.execute("SELECT id FROM information_schema.processlist WHERE db = %s", (database,))
        return [row[0] for row in await cursor.fetchall()]


async def open_shared(reaper: Reaper) -> MySQLServer:
    """The server the environment names, else a private one."""
    if url := os.environ.get(URL_VARIABLE):
        return MySQLServer(make_url(url), process=None)
    return await open_private(reaper)


async def open_private(reaper: Reaper) -> MySQLServer:
    """A server of our own that a test may stop and kill."""
    server_program, install_program = find_programs()
    directory = new_directory("edda-my-", reaper)
    await _initialise(install_program, directory)
    port = free_port()
    command = [
        *(server_program, "--no-defaults", f"--datadir={directory / 'data'}"),
        *(f"--socket={directory / 's.sock'}", f"--pid-file={directory / 'pid'}", f"--port={port}"),
        # Never that of the tests, which may belong to root alone and which others share: a server that
        # starts removes the temporary tables in it, and MariaDB crashes when one of its own is gone.
        f"--tmpdir={directory}",
        *OPTIONS,
    ]
    process = ServerProcess(directory, command, signal.SIGTERM, reaper)
    server = MySQLServer(
        URL.create("mysql", username="root", host="127.0.0.1", port=port, database="mysql"), process
    )
    await server.start()
    return server


def find_programs() -> tuple[str, str]:
    """Paths of the server and of the program that makes its data directory."""
    server_program = shutil.which("mariadbd", path=SEARCH_PATH)
    install_program = shutil.which("mariadb-install-db", path=SEARCH_PATH)
    if server_program is None or install_program is None:
        raise ServerUnavailableError(
            f"no MariaDB: {URL_VARIABLE} is not set, and mariadbd with mariadb-install-db is not installed"
        )
    return server_program, install_program


async def _initialise(install_program: str, directory: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        install_program,
        *("--no-defaults", f"--datadir={directory / 'data'}", "--skip-test-db"),
        f"--tmpdir={directory}",
        *("--auth-root-authentication-method=normal", "--innodb-log-file-size=16M"),
        cwd=directory,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        **as_unprivileged(),
    )
    output, _ = await process.communicate()
    if process.returncode != 0:
        raise ServerDiedError(f"mariadb-install-db failed:\n{output.decode(errors='replace')}")
