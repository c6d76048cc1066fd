from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from edda.exceptions import StorageError
from edda.storage import migrations
from edda.storage.connection import parse
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from tests.support.workers import Workers

HEAD = migrations.known_revisions()[-1]
MIGRATE_FIRST = "migrate it first, by an app with auto_migrate=True"


async def execute(url: str, statement: str) -> list[tuple[object, ...]]:
    engine = create_async_engine(parse(url)[0])
    async with engine.begin() as connection:
        result = await connection.execute(text(statement))
        rows = [tuple(row) for row in result] if result.returns_rows else []
    await engine.dispose()
    return rows


async def migrate(url: str) -> None:
    """Open and close, as each starting worker does; also the program of the worker processes."""
    storage = SQLAlchemyStorage(url)
    await storage.open(migrate=True)
    await storage.get_instance("unknown")
    await storage.close()


async def failure_of(url: str, *, migrate: bool) -> str:
    storage = SQLAlchemyStorage(url)
    with pytest.raises(StorageError) as caught:
        await storage.open(migrate=migrate)
    message = str(caught.value)
    assert "\n" not in message
    return message


async def test_five_processes_that_start_at_once_migrate_once(database_url: str, workers: Workers) -> None:
    started = [await workers.start("tests.storage.test_migrations:migrate", database_url) for _ in range(5)]
    codes = [await worker.wait() for worker in started]
    assert codes == [0] * 5, "\n".join(worker.output for worker in started)
    assert await execute(database_url, f"SELECT * FROM {migrations.VERSION_TABLE}") == [(HEAD,)]


async def test_a_missing_schema_is_named_when_it_must_not_be_made(database_url: str) -> None:
    message = await failure_of(database_url, migrate=False)
    assert message == f"The database schema is of revision none, expected is {HEAD}: {MIGRATE_FIRST}"


async def test_an_older_schema_is_named_when_it_must_not_be_changed(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate(database_url)
    monkeypatch.setattr(migrations, "known_revisions", lambda: [HEAD, "0999"])
    message = await failure_of(database_url, migrate=False)
    assert message == f"The database schema is of revision {HEAD}, expected is 0999: {MIGRATE_FIRST}"


@pytest.mark.parametrize("may_migrate", [True, False])
async def test_a_schema_of_a_newer_version_is_left_alone(database_url: str, may_migrate: bool) -> None:
    await migrate(database_url)
    await execute(database_url, f"UPDATE {migrations.VERSION_TABLE} SET version_num = '0999'")
    message = await failure_of(database_url, migrate=may_migrate)
    assert message == (
        f"The database schema is of revision 0999, newer than what this edda expects: {HEAD}. "
        "Deploy a version that knows it"
    )
    assert await execute(database_url, f"SELECT * FROM {migrations.VERSION_TABLE}") == [("0999",)]


async def test_a_migration_that_was_interrupted_is_finished_by_the_next(database_url: str) -> None:
    """MySQL keeps the tables that a failed migration has made."""
    await migrate(database_url)
    await execute(database_url, f"DROP TABLE {migrations.VERSION_TABLE}")
    await execute(database_url, "DROP TABLE workflow_waits")
    await migrate(database_url)
    assert await execute(database_url, "SELECT * FROM workflow_waits") == []
    assert await execute(database_url, f"SELECT * FROM {migrations.VERSION_TABLE}") == [(HEAD,)]


async def test_a_current_schema_is_found_without_loading_alembic(database_url: str, workers: Workers) -> None:
    await migrate(database_url)
    worker = await workers.start("tests.storage.test_migrations:open_and_list_modules", database_url)
    assert await worker.wait() == 0, worker.output
    assert worker.lines[-1] == "alembic: False"


async def open_and_list_modules(url: str) -> None:
    """The program of a worker process: whether opening has loaded Alembic."""
    await migrate(url)
    print("alembic:", "alembic" in sys.modules)


@pytest.fixture
def broken_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of the revisions with one more that cannot be applied."""
    location = tmp_path / "revisions"
    shutil.copytree(migrations.script_location(), location)
    lines = (
        'revision = "0999"',
        f'down_revision = "{HEAD}"',
        "def upgrade():",
        '    raise LookupError("broken on purpose")',
    )
    (location / "versions" / "0999_broken.py").write_text("\n".join(lines))
    monkeypatch.setattr(migrations, "script_location", lambda: location)


@pytest.mark.usefixtures("broken_revision")
async def test_a_broken_revision_stops_everybody(database_url: str) -> None:
    messages = await asyncio.gather(*(failure_of(database_url, migrate=True) for _ in range(3)))
    for message in messages:
        assert "broken on purpose" in message
        assert "Cannot open" in message


def test_the_revisions_are_found_beside_the_package_or_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, beside = tmp_path / "edda" / "_alembic", tmp_path / "alembic"
    monkeypatch.setattr(migrations, "_PLACES", (inside, beside))
    with pytest.raises(StorageError, match="missing from the installation"):
        migrations.script_location()
    (beside / "versions").mkdir(parents=True)
    assert migrations.script_location() == beside
    (inside / "versions").mkdir(parents=True)
    assert migrations.script_location() == inside
