"""A real pgbouncer before a PostgreSQL server, which lends its connections for one transaction each."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from signal import SIGTERM

import asyncpg
from sqlalchemy import make_url

from tests.support.databases import unavailable
from tests.support.eventually import PATIENCE, eventually
from tests.support.reaper import Reaper
from tests.support.server import ServerProcess, free_port, new_directory

# More clients than connections, so that what one leaves on a connection the others meet.
CONNECTIONS = 2


@contextlib.asynccontextmanager
async def pgbouncer_to(url: str, reaper: Reaper) -> AsyncIterator[str]:
    """The URL of this database behind a pgbouncer that pools transactions, for the length of the block."""
    binary = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if binary is None:
        unavailable("pgbouncer is not installed")
    port, directory = free_port(), new_directory("edda-bouncer-", reaper)
    settings = directory / "pgbouncer.ini"
    settings.write_text(_settings(url, port))
    settings.chmod(0o644)
    process = ServerProcess(directory, (Path(binary), settings), SIGTERM, reaper)
    behind = make_url(url).set(host="127.0.0.1", port=port).render_as_string(hide_password=False)

    async def check() -> None:
        process.check_alive()
        await (await asyncpg.connect(behind, timeout=PATIENCE)).close()

    await process.start()
    try:
        await eventually(check, retry_on=(OSError, asyncpg.PostgresError))
        yield behind
    finally:
        await process.kill()
        process.remove_directory()


def _settings(url: str, port: int) -> str:
    server = make_url(url)
    password = f"password={server.password}" if server.password else ""
    return f"""
[databases]
* = host={server.host} port={server.port or 5432} user={server.username} {password}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
max_client_conn = 100
default_pool_size = {CONNECTIONS}
"""
