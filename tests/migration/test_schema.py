"""What the revisions make is what the tables of the package describe."""

from __future__ import annotations

from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect
from sqlalchemy.ext.asyncio import create_async_engine

from edda.storage import migrations
from edda.storage.connection import parse
from edda.storage.models import metadata
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage


async def test_the_migrated_schema_is_that_of_the_models(database_url: str) -> None:
    differences, tables = await _inspected(database_url)
    assert differences == []
    assert tables == {*metadata.tables, migrations.VERSION_TABLE}


async def _inspected(url: str) -> tuple[list[Any], set[str]]:
    storage = SQLAlchemyStorage(url)
    await storage.open(migrate=True)
    await storage.close()
    engine = create_async_engine(parse(url)[0])
    async with engine.connect() as connection:
        result = await connection.run_sync(_compare)
    await engine.dispose()
    return result


def _compare(connection: Connection) -> tuple[list[Any], set[str]]:
    options = {
        "compare_type": True,
        "compare_server_default": True,
        "version_table": migrations.VERSION_TABLE,
    }
    context = MigrationContext.configure(connection, opts=options)
    differences = [found for found in compare_metadata(context, metadata) if not _is_numbering(found)]
    return differences, set(inspect(connection).get_table_names())


def _is_numbering(difference: Any) -> bool:
    """How rows are numbered is the default of an id, which each database spells in its own way."""
    if not isinstance(difference, list):
        return False
    kind, _schema, _table, column, *_ = difference[0]
    return (kind, column) == ("modify_default", "id")


def test_file_names_begin_with_the_revision_in_one_line_of_descent() -> None:
    """Opening a database finds the newest revision by these names alone."""
    script = ScriptDirectory(str(migrations.script_location()))
    revisions = [revision.revision for revision in script.walk_revisions()][::-1]
    assert revisions == migrations.known_revisions()
    assert script.get_heads() == revisions[-1:]
