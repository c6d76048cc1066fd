from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tests.support.databases import DatabaseKind, Databases, unavailable
from tests.support.server import DatabaseServer

DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "mysql": "mysql+aiomysql"}
ALL_KINDS: list[DatabaseKind] = ["sqlite", "postgresql", "mysql"]


def async_url(url: str) -> str:
    parsed = make_url(url)
    return parsed.set(drivername=DRIVERS[parsed.drivername]).render_as_string(hide_password=False)


@pytest.mark.parametrize("repetition", [1, 2])
async def test_each_test_gets_an_empty_database(database_url: str, repetition: int) -> None:
    engine = create_async_engine(async_url(database_url))
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE left_behind (id INTEGER)"))
    await engine.dispose()


@pytest.mark.parametrize("kind", ALL_KINDS)
async def test_an_open_connection_at_the_end_fails_the_test(
    databases: Databases, kind: DatabaseKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.support.databases.CLOSING_GRACE", 0.1)
    with pytest.raises(AssertionError, match="the test left"):
        async with databases.fresh(kind, tmp_path) as url:
            engine = create_async_engine(async_url(url))
            connection = await engine.connect()
            await connection.execute(text("SELECT 1"))

    await connection.invalidate()
    await engine.dispose()


@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
async def test_databases_are_dropped_although_a_client_is_in_a_transaction(
    databases: Databases, kind: DatabaseKind, tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError, match="the test failed"):
        async with databases.fresh(kind, tmp_path) as url:
            engine = create_async_engine(async_url(url))
            connection = await engine.connect()
            await connection.execute(text("CREATE TABLE held (id INTEGER)"))
            await connection.execute(text("SELECT * FROM held"))
            raise RuntimeError("the test failed")

    await connection.invalidate()
    with pytest.raises((DBAPIError, OSError)):
        await engine.connect()
    await engine.dispose()


async def test_a_stopped_server_comes_back_at_the_same_url_with_its_data(
    private_server: DatabaseServer,
) -> None:
    engine = await engine_with_table(private_server)
    await add(engine, 1)

    await private_server.stop()
    with pytest.raises((DBAPIError, OSError)):
        await add(engine, 2)
    await private_server.start()

    assert await numbers(engine) == [1]
    await engine.dispose()


async def test_a_killed_server_keeps_what_was_committed_and_only_that(private_server: DatabaseServer) -> None:
    engine = await engine_with_table(private_server)
    await add(engine, 1)
    connection = await engine.connect()
    await connection.execute(text("INSERT INTO numbers VALUES (2)"))

    await private_server.kill()
    with pytest.raises((DBAPIError, OSError)):
        await connection.commit()
    await connection.invalidate()
    await private_server.start()

    assert await numbers(engine) == [1]
    await engine.dispose()


async def engine_with_table(server: DatabaseServer) -> AsyncEngine:
    url = async_url(server.url_for(await server.create_database()))
    engine = create_async_engine(url, pool_pre_ping=True)
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE numbers (number INTEGER)"))
    return engine


async def add(engine: AsyncEngine, number: int) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("INSERT INTO numbers VALUES (:number)"), {"number": number})


async def numbers(engine: AsyncEngine) -> list[int]:
    async with engine.connect() as connection:
        return list(await connection.scalars(text("SELECT number FROM numbers ORDER BY number")))


def test_a_missing_server_skips_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDDA_REQUIRE_DATABASES", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no PostgreSQL"):
        unavailable("no PostgreSQL")


def test_a_missing_server_fails_the_test_where_databases_are_required(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EDDA_REQUIRE_DATABASES", "1")
    with pytest.raises(pytest.fail.Exception, match="EDDA_REQUIRE_DATABASES=1, but no PostgreSQL"):
        unavailable("no PostgreSQL")
