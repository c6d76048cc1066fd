"""Databases with the current schema that tests use one after another, emptied in between.

Creating a database and migrating it takes longer than most tests.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from sqlalchemy import inspect
from sqlalchemy.engine import Connection, make_url

from edda.storage.models import metadata
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from tests.support.databases import CLOSING_GRACE, DatabaseKind, Databases, ServerKind
from tests.support.eventually import eventually


class RecycledDatabases:
    """Hands out databases that may have been used and are empty again."""

    def __init__(self, databases: Databases) -> None:
        self._databases = databases
        self._spare: dict[ServerKind, list[str]] = {"postgresql": [], "mysql": []}
        self._open = contextlib.AsyncExitStack()

    @contextlib.asynccontextmanager
    async def use(self, kind: DatabaseKind, directory: Path) -> AsyncIterator[str]:
        """The URL of a database without rows; fails if connections to it are open at the end."""
        if kind == "sqlite":
            async with self._databases.fresh(kind, directory) as url:
                yield url
            return
        if not self._spare[kind]:
            self._spare[kind].append(
                await self._open.enter_async_context(self._databases.fresh(kind, directory))
            )
        url = self._spare[kind].pop()
        yield url
        await self._check_closed(kind, url)
        await _empty(url)
        self._spare[kind].append(url)

    async def _check_closed(self, kind: ServerKind, url: str) -> None:
        server = await self._databases.shared_server(kind)
        database = make_url(url).database
        assert database is not None

        async def check() -> None:
            open_connections = await server.count_connections(database)
            assert open_connections == 0, f"the test left {open_connections} connections open"

        await eventually(check, within=CLOSING_GRACE)

    async def close(self) -> None:
        """Drop them all."""
        await self._open.aclose()


async def _empty(url: str) -> None:
    engine = SQLAlchemyStorage(url).engine
    async with engine.begin() as connection:
        await connection.run_sync(_delete_all_rows)
    await engine.dispose()


def _delete_all_rows(connection: Connection) -> None:
    there = set(inspect(connection).get_table_names())
    for table in reversed(metadata.sorted_tables):
        if table.name in there:
            connection.execute(table.delete())
