from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine

from edda.exceptions import StorageError
from edda.storage.dialects.notifications import PostgreSQLLine, send
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from tests.support.eventually import PATIENCE, until

pytestmark = pytest.mark.parametrize("empty_database_url", ["postgresql"], indirect=True)


async def test_a_line_hears_commits_in_their_order_and_nothing_else(empty_database_url: str) -> None:
    storage = SQLAlchemyStorage(empty_database_url)
    await storage.open(migrate=True)
    heard: list[str] = []
    line = await PostgreSQLLine.open(storage.engine, heard.append)
    async with storage.engine.connect() as connection:
        await connection.run_sync(send, "rolled back")
        await connection.rollback()
        await connection.run_sync(send, "first")
        await connection.execute(text("SELECT pg_notify('edda', 'of another channel')"))
        await connection.commit()
        await connection.run_sync(send, "ä☃" * 1000)
        await connection.commit()
    await until(lambda: len(heard) == 2)
    assert heard == ["first", "ä☃" * 1000]
    await line.check()
    await line.close()
    await line.close()
    await storage.close()


async def test_a_line_tells_when_the_server_ends_it(empty_database_url: str) -> None:
    storage = SQLAlchemyStorage(empty_database_url)
    await storage.open(migrate=True)
    line = await PostgreSQLLine.open(storage.engine, lambda _: None)
    pid = await line._driver.fetchval("SELECT pg_backend_pid()")
    async with storage.engine.connect() as connection:
        await connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
    async with asyncio.timeout(PATIENCE):
        await line.wait_until_broken()
    with pytest.raises(Exception, match="closed"):
        await line.check()
    await line.close()
    await storage.close()


async def test_a_driver_that_cannot_listen_is_named(empty_database_url: str) -> None:
    engine: Any = SimpleNamespace(dialect=SimpleNamespace(driver="psycopg"))
    with pytest.raises(StorageError, match="psycopg cannot listen"):
        await PostgreSQLLine.open(cast("AsyncEngine", engine), lambda _: None)


async def test_a_line_to_a_database_without_tables_leaves_no_connection(empty_database_url: str) -> None:
    engine = SQLAlchemyStorage(empty_database_url).engine
    pool = engine.sync_engine.pool

    def hide(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute("SET search_path TO nowhere")
        cursor.close()
        connection.commit()

    event.listen(pool, "connect", hide)
    with pytest.raises(Exception, match="workflow_instances"):
        await PostgreSQLLine.open(engine, lambda _: None)
    await engine.dispose()
