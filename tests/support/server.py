"""What the database servers of the tests have in common: a process, a port, a directory."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy.engine import URL

from tests.support.eventually import PATIENCE, eventually
from tests.support.reaper import Reaper

UNPRIVILEGED = "nobody"
_PORT_RANGES, _PORTS = 6, 2000


class ServerUnavailableError(Exception):
    """There is no such server on this machine; the message says what was looked for."""


class ServerDiedError(Exception):
    """The server ended while it was starting; the message carries its log."""


class ServerNotReadyError(Exception):
    """The server does not answer queries yet."""


class DatabaseServer(ABC):
    """A running database server that hands out empty databases."""

    def __init__(self, admin_url: URL, process: ServerProcess | None) -> None:
        self.admin_url = admin_url
        self._process = process

    @property
    def host(self) -> str:
        return self.admin_url.host or "127.0.0.1"

    @property
    @abstractmethod
    def port(self) -> int:
        """The TCP port clients connect to, for instance through a proxy."""

    def url_for(self, database: str, *, port: int | None = None) -> str:
        """The URL of a database on this server; with ``port``, through a proxy on that port."""
        url = self.admin_url.set(database=database)
        if port is not None:
            url = url.set(host="127.0.0.1", port=port)
        return url.render_as_string(hide_password=False)

    @abstractmethod
    async def create_database(self) -> str:
        """Make an empty database and return its name."""

    @abstractmethod
    async def drop_database(self, database: str) -> None:
        """Remove a database, ending the connections that are still open to it."""

    @abstractmethod
    async def count_connections(self, database: str) -> int:
        """How many clients are connected to the database."""

    @abstractmethod
    async def check_ready(self) -> None:
        """Raise `ServerNotReadyError` unless the server answers a query."""

    async def start(self) -> None:
        """Start the server, again if it was stopped or killed, on the same port and data."""
        process = self._private_process
        await process.start()

        async def check() -> None:
            process.check_alive()
            await self.check_ready()

        await eventually(check, retry_on=ServerNotReadyError)

    async def stop(self) -> None:
        """Shut down in order, as for an upgrade; clients lose their connections."""
        await self._private_process.stop()

    async def kill(self) -> None:
        """End the server as a power failure would, without a last write."""
        await self._private_process.kill()

    async def close(self) -> None:
        """Stop a private server and remove its data; a server of others is left alone."""
        if self._process is not None:
            await self._process.kill()
            self._process.remove_directory()

    @property
    def _private_process(self) -> ServerProcess:
        if self._process is None:
            raise RuntimeError("this server belongs to somebody else; a test must not stop it")
        return self._process


class ServerProcess:
    """The operating system's side of a private server."""

    def __init__(
        self, directory: Path, command: Sequence[str | Path], stop_signal: signal.Signals, reaper: Reaper
    ):
        self.directory = directory
        self._command = command
        self._stop_signal = stop_signal
        self._reaper = reaper
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        assert self._process is None, "the server is running"
        with (self.directory / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                cwd=self.directory,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **as_unprivileged(),
            )
        self._reaper.watch_group(self._process.pid)

    def check_alive(self) -> None:
        """Raise `ServerDiedError` with the log if the process has ended by itself."""
        if self._process is None or self._process.returncode is not None:
            log = (self.directory / "log").read_text(errors="replace")
            raise ServerDiedError(f"{self._command[0]} ended:\n{log[-4000:]}")

    async def stop(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(self._stop_signal)
            try:
                await asyncio.wait_for(self._process.wait(), PATIENCE)
            except TimeoutError:
                await self.kill()
            self._ended()

    async def kill(self) -> None:
        if self._process is not None:
            # Backends leave the group of their parent, so they are looked up while it lives.
            for process in _family(self._process.pid):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            await self._process.wait()
            self._ended()

    def remove_directory(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)

    def _ended(self) -> None:
        if self._process is not None:
            self._reaper.forget_group(self._process.pid)
            self._process = None


def _family(pid: int) -> list[psutil.Process]:
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def new_directory(prefix: str, reaper: Reaper) -> Path:
    """A directory that the unprivileged user owns, with a path short enough for a socket."""
    parent = tempfile.gettempdir()
    if len(parent) > 60:
        parent = "/tmp"  # noqa: S108  mkdtemp makes a directory of its own in it
    directory = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    if os.geteuid() == 0:
        shutil.chown(directory, UNPRIVILEGED, _group_of(UNPRIVILEGED))
    reaper.watch_directory(directory)
    return directory


def as_unprivileged() -> dict[str, Any]:
    """Arguments of ``subprocess`` that give up root, as no database server runs as root."""
    if os.geteuid() != 0:
        return {}
    return {"user": UNPRIVILEGED, "group": _group_of(UNPRIVILEGED), "extra_groups": []}


def _group_of(user: str) -> int:
    return pwd.getpwnam(user).pw_gid


def readable_by_unprivileged(path: Path) -> bool:
    """Whether the user that servers run as can reach this path; a checkout of root often is not."""
    return os.geteuid() != 0 or all(parent.stat().st_mode & 0o001 for parent in path.resolve().parents)


def free_port() -> int:
    """A free port below those the system gives to clients, so that a restart finds it free.

    Processes of one test run take theirs from different ranges: a server that is stopped for
    a moment, or just starting, would not keep another process from taking its port.
    """
    process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _PORT_RANGES
    while True:
        port = 20_000 + process * _PORTS + secrets.randbelow(_PORTS)
        with socket.socket() as candidate:
            try:
                candidate.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


def new_database_name() -> str:
    return f"edda_test_{secrets.token_hex(6)}"
