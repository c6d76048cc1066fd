from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from benchmarks.cells import Database
from benchmarks.databases import Databases, file_system, warnings
from benchmarks.measurement import ASYNC_DRIVERS
from tests.support.reaper import Reaper


async def test_every_sqlite_file_is_new_and_goes_away(reaper: Reaper, tmp_path: Path) -> None:
    databases = Databases(reaper, tmp_path)
    async with databases.fresh(Database.SQLITE) as first, databases.fresh(Database.SQLITE) as second:
        assert first != second
        assert first.startswith(f"sqlite:///{tmp_path}/")
        assert len(list(tmp_path.iterdir())) == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("database", [Database.SQLITE, Database.POSTGRESQL])
async def test_a_copy_is_of_its_own(database: Database, reaper: Reaper, tmp_path: Path) -> None:
    databases = Databases(reaper, tmp_path)
    try:
        source = await databases.kept(database)
        await _run(source, "CREATE TABLE rows (n INTEGER)", "INSERT INTO rows VALUES (1)")
        for _ in range(2):
            async with databases.copy(database, source) as copy:
                await _run(copy, "INSERT INTO rows VALUES (2)")
                assert await _run(copy, "SELECT count(*) FROM rows") == 2
        assert await _run(source, "SELECT count(*) FROM rows") == 1
    finally:
        await databases.close()
    assert list(tmp_path.iterdir()) == []


async def _run(url: str, *statements: str) -> object:
    engine = create_async_engine(
        make_url(url).set(drivername=ASYNC_DRIVERS[Database(make_url(url).drivername)])
    )
    async with engine.begin() as connection:
        results = [await connection.execute(text(statement)) for statement in statements]
        found = results[-1].scalar() if results[-1].returns_rows else None
    await engine.dispose()
    return found


def test_a_file_system_has_a_type() -> None:
    assert file_system(Path("/proc")) == "proc"


def test_settings_that_lose_commits_are_warned_about() -> None:
    assert warnings(Database.POSTGRESQL, {"fsync": "off", "synchronous_commit": "on"}) == [
        "postgresql: fsync is off, so commits are not durable"
    ]
    assert warnings(Database.MYSQL, {"innodb_flush_log_at_trx_commit": "2"}) == [
        "mysql: innodb_flush_log_at_trx_commit is 2, so commits are not durable"
    ]
    assert warnings(Database.SQLITE, {"file_system": "tmpfs"}) == [
        "sqlite: the file lies in memory (tmpfs), so a commit costs nothing"
    ]


def test_durable_settings_need_no_warning() -> None:
    assert warnings(Database.POSTGRESQL, {"version": "15", "fsync": "on", "synchronous_commit": "on"}) == []
    assert warnings(Database.SQLITE, {"file_system": "ext4"}) == []
