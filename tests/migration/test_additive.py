"""Revisions only add: a worker that runs while another one migrates goes on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from alembic.config import Config
from sqlalchemy import Connection, create_engine, inspect

from alembic import command
from edda import WorkflowContext, activity, workflow
from edda.app import EddaApp
from edda.exceptions import StorageError
from edda.storage import migrations
from edda.storage.models import metadata
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from tests.support.apps import result_of

HEAD = migrations.known_revisions()[-1]


def test_each_revision_leaves_what_is_there_and_adds_only_what_may_be_left_out(tmp_path: Path) -> None:
    """An older worker goes on to write rows without the new columns."""
    engine = create_engine(f"sqlite:///{tmp_path}/edda.db")
    before: dict[str, dict[str, Any]] = {}
    with engine.connect() as connection:
        for revision in migrations.known_revisions():
            _upgrade(connection, revision)
            after = _columns(connection)
            for table, columns in before.items():
                assert columns.keys() <= after[table].keys(), f"{revision} removes columns of {table}"
                for name in after[table].keys() - columns.keys():
                    column = after[table][name]
                    optional = column["nullable"] or column["default"] is not None
                    assert optional, f"{revision}: older workers do not know {table}.{name}"
            before = after
    engine.dispose()


def _upgrade(connection: Connection, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(migrations.script_location()))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
    connection.commit()


def _columns(connection: Connection) -> dict[str, dict[str, Any]]:
    tables = set(inspect(connection).get_table_names()) - {migrations.VERSION_TABLE}
    return {
        table: {column["name"]: column for column in inspect(connection).get_columns(table)}
        for table in tables
    }


@pytest.fixture
def next_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A copy of the revisions with one more, which adds a column to each table."""
    location = tmp_path / "revisions"
    shutil.copytree(migrations.script_location(), location)
    lines = [
        "import sqlalchemy as sa",
        "from alembic import op",
        'revision = "0999"',
        f'down_revision = "{HEAD}"',
        "def upgrade():",
        *(f'    op.add_column("{table}", sa.Column("extra", sa.Integer()))' for table in metadata.tables),
    ]
    (location / "versions" / "0999_more.py").write_text("\n".join(lines))
    monkeypatch.setattr(migrations, "script_location", lambda: location)
    return monkeypatch


@activity
async def add(ctx: WorkflowContext, number: int) -> int:
    return number + 1


@workflow
async def adding_one(ctx: WorkflowContext) -> int:
    return await add(ctx, await add(ctx, 0))


async def test_a_running_worker_goes_on_while_a_newer_one_migrates(
    database_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """It cannot be started again: a worker of an older version says what it has met."""
    async with EddaApp("tests", database_url) as app:
        assert await result_of(app, await adding_one.start()) == 2
        patch: pytest.MonkeyPatch = request.getfixturevalue("next_version")
        newer = SQLAlchemyStorage(database_url)
        await newer.open(migrate=True)
        assert await result_of(app, await adding_one.start()) == 2
        await newer.close()
        patch.undo()
    message = f"The database schema is of revision 0999, newer than what this edda expects: {HEAD}."
    with pytest.raises(StorageError) as caught:
        await EddaApp("tests", database_url).initialize()
    assert str(caught.value).startswith(message)
