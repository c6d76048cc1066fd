from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, make_url, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import create_async_engine

from edda import clock
from edda.storage.dialects.base import ContentionError, Failure
from edda.storage.dialects.sqlite import SQLiteDialect, is_memory
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.writes import Verdict
from tests.support.writes import claim_due, run_of, step

DIALECT = SQLiteDialect()


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[SQLAlchemyStorage]:
    storage = SQLAlchemyStorage(f"sqlite:///{tmp_path / 'edda.db'}")
    await storage.open(migrate=True)
    yield storage
    await storage.close()


def error_with(code: int) -> OperationalError:
    cause = sqlite3.OperationalError("some text")
    cause.sqlite_errorcode = code
    return OperationalError("SELECT", None, cause)


@pytest.mark.parametrize(
    ("code", "failure"),
    [
        (sqlite3.SQLITE_BUSY, Failure.CONFLICT),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, Failure.CONFLICT),
        (sqlite3.SQLITE_LOCKED, Failure.CONFLICT),
        (sqlite3.SQLITE_SCHEMA, Failure.CONFLICT),
        (sqlite3.SQLITE_IOERR_READ, Failure.UNREACHABLE),
        (sqlite3.SQLITE_CANTOPEN, Failure.UNREACHABLE),
        (sqlite3.SQLITE_FULL, Failure.UNREACHABLE),
        (sqlite3.SQLITE_CONSTRAINT_UNIQUE, Failure.REFUSED),
        (sqlite3.SQLITE_TOOBIG, Failure.REFUSED),
    ],
)
def test_errors_are_told_by_their_code(code: int, failure: Failure) -> None:
    assert DIALECT.classify(error_with(code)) is failure


def test_contention_is_a_conflict() -> None:
    assert DIALECT.classify(ContentionError()) is Failure.CONFLICT


@pytest.mark.parametrize(
    ("url", "expected"), [("sqlite://", True), ("sqlite:///:memory:", True), ("sqlite:///x", False)]
)
def test_a_database_in_memory_has_no_file(url: str, expected: bool) -> None:
    assert is_memory(make_url(url)) is expected


async def test_the_clock_is_that_of_the_process(
    storage: SQLAlchemyStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run_of(storage, seconds=100)
    assert await storage.submit(claim_due()) == ()
    later = datetime.now(UTC) + timedelta(seconds=101)
    monkeypatch.setattr(clock, "now", lambda: later)
    assert len(await storage.submit(claim_due())) == 1


@pytest.mark.parametrize("micros", [0, 7, 999_999])
async def test_times_are_stored_in_one_width(
    storage: SQLAlchemyStorage, monkeypatch: pytest.MonkeyPatch, micros: int
) -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, micros, tzinfo=UTC)
    monkeypatch.setattr(clock, "now", lambda: moment)
    held = await run_of(storage, seconds=60)
    async with storage.engine.connect() as connection:
        stored = await connection.execute(text("SELECT started_at, due_at FROM workflow_instances"))
    assert stored.one() == (f"2026-01-02 03:04:05.{micros:06}", f"2026-01-02 03:05:05.{micros:06}")
    record = await storage.load_instance(held.instance_id)
    assert record is not None
    assert record.started_at == moment


async def test_connections_are_durable_and_check_foreign_keys(storage: SQLAlchemyStorage) -> None:
    async with storage.engine.connect() as connection:
        settings = [
            (await connection.execute(text(f"PRAGMA {name}"))).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        ]
    assert settings == ["wal", 2, 1, 10_000]


async def test_reading_goes_on_while_somebody_writes(storage: SQLAlchemyStorage, tmp_path: Path) -> None:
    held = await run_of(storage)
    other = sqlite3.connect(tmp_path / "edda.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    waiting = asyncio.create_task(storage.submit(step(held)))
    assert await storage.load_history(held.instance_id) == []
    other.execute("COMMIT")
    assert await waiting is Verdict.ACCEPTED
    other.close()


async def test_each_database_in_memory_is_one_of_its_own() -> None:
    first, second = SQLAlchemyStorage("sqlite://"), SQLAlchemyStorage("sqlite:///:memory:")
    await first.open(migrate=True)
    await second.open(migrate=True)
    held = await run_of(first)
    assert await first.load_instance(held.instance_id) is not None
    assert await second.load_instance(held.instance_id) is None
    await first.close()
    await second.close()


async def test_an_engine_in_memory_is_refused() -> None:
    engine = create_async_engine("sqlite+aiosqlite://")
    with pytest.raises(ValueError, match="pass its URL instead"):
        SQLAlchemyStorage(engine)
    await engine.dispose()


def test_options_of_a_pool_mean_nothing_for_a_file() -> None:
    engine = DIALECT.create_engine(URL.create("sqlite+aiosqlite", database="x.db"), {"pool_size": 1})
    assert engine.url.database == "x.db"


@pytest.mark.parametrize("database", ["a file", "memory"])
async def test_a_session_that_is_given_up_lets_go_although_its_cursor_is_still_referred_to(
    database: str, tmp_path: Path
) -> None:
    # As the traceback of a cancelled statement does until the garbage is collected.
    storage = SQLAlchemyStorage("sqlite://" if database == "memory" else f"sqlite:///{tmp_path / 'edda.db'}")
    await storage.open(migrate=True)
    held = await run_of(storage)
    transaction = storage.transaction()
    connection = await transaction.session.connection()
    driver: Any = (await connection.get_raw_connection()).driver_connection
    kept = await driver.cursor()
    await kept.execute("SELECT 1 UNION ALL SELECT 2")
    await connection.invalidate()
    await transaction.rollback()
    try:
        async with asyncio.timeout(60):
            assert await storage.submit(step(held)) is Verdict.ACCEPTED
    finally:
        del kept
        await storage.close()
