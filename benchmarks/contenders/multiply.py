"""Makes many instances of one: its rows, copied in the database under other ids.

Knows no contender's tables: the id is what stands in a column that each of them has, and every row
with that id in one of its texts belongs to the instance. The ids of the copies are as random as
those of real instances, so that the trees of the indexes are as well. SQLite and PostgreSQL.

As a program it copies the only instance of a database that nobody else has open, or the one that is named,
beside others: DB_URL COPIES [ORIGINAL]. Its memory, which is much, is then not that of who is measured.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import re
import sys
from collections.abc import Callable, Iterator

from sqlalchemy import Connection, MetaData, String, Table, create_engine, event, inspect, select, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import create_async_engine

ID_COLUMNS = {"instance_id", "workflow_uuid"}
# Others get their turn in between. Where there are none, pages are read and written less often.
COPIES_PER_TRANSACTION = 50_000
COPIES_ALONE = 250_000
# So long a statement waits for the other writer of an SQLite file.
PATIENCE = 60.0
COUNTED = {
    "sqlite": "SELECT :first AS n UNION ALL SELECT n + 1 FROM counted WHERE n < :last",
    "postgresql": "SELECT n FROM generate_series(CAST(:first AS integer), CAST(:last AS integer)) AS n",
}
Work = Callable[[Connection], "list[str]"]
# What a database does by itself sooner or later is done before the clock starts.
SETTLE = {
    "sqlite": ["PRAGMA synchronous=FULL", "PRAGMA wal_checkpoint(TRUNCATE)"],
    "postgresql": ["VACUUM ANALYZE", "CHECKPOINT"],
}


def multiply(db_url: str, copies: int, original: str | None = None, *, alone: bool = False) -> list[str]:
    """Copy the instance so many times, or the only one there is; returns the ids of the copies.

    With ``alone``, nobody else has the database open.
    """
    url = make_url(db_url)
    chunk = COPIES_ALONE if alone else COPIES_PER_TRANSACTION

    def work(connection: Connection) -> list[str]:
        return _multiply(connection, copies, original, chunk)

    if url.get_backend_name() == "sqlite":
        return _on_sqlite(url, _without_journal(work) if alone else work)
    return asyncio.run(_on_server(url, work))


def _without_journal(work: Work) -> Work:
    """Every page is written once, and a copy that is interrupted leaves a file that is of no use."""

    def unprotected(connection: Connection) -> list[str]:
        usual = connection.scalar(text("PRAGMA journal_mode"))
        connection.execute(text("PRAGMA journal_mode=OFF"))
        copies = work(connection)
        connection.execute(text(f"PRAGMA journal_mode={usual}"))
        return copies

    return unprotected


def _on_sqlite(url: URL, work: Work) -> list[str]:
    engine = create_engine(url.set(drivername="sqlite"), connect_args={"timeout": PATIENCE})

    @event.listens_for(engine, "connect")
    def prepare(connection, _record):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        connection.create_function("md5", 1, _md5, deterministic=True)
        connection.execute("PRAGMA synchronous=OFF")
        # The ids are random: with the usual 2 MB most insertions would read a page and write another.
        connection.execute("PRAGMA cache_size=-1000000")

    try:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            return work(connection)
    finally:
        engine.dispose()


async def _on_server(url: URL, work: Work) -> list[str]:
    driver = "asyncpg" if importlib.util.find_spec("asyncpg") else "psycopg"
    engine = create_async_engine(url.set(drivername=f"postgresql+{driver}"), isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(work)
    finally:
        await engine.dispose()


def _multiply(connection: Connection, copies: int, original: str | None, chunk: int) -> list[str]:
    tables = [*_tables(connection)]
    original = original or _only_instance(connection, tables)
    core = core_of(original)
    for first in range(0, copies, chunk):
        last = min(first + chunk, copies) - 1
        connection.execute(text("BEGIN"))
        for table in tables:
            _copy(connection, table, core, first, last)
        connection.execute(text("COMMIT"))
    for statement in SETTLE[connection.dialect.name]:
        connection.execute(text(statement))
    return names_of(original, copies)


def names_of(original: str, copies: int) -> list[str]:
    """The ids of so many copies of an instance."""
    core = core_of(original)
    return [original.replace(core, _md5(f"{number}{core}")) for number in range(copies)]


def _tables(connection: Connection) -> Iterator[Table]:
    """Every table of every schema, those that others refer to first."""
    for schema in inspect(connection).get_schema_names():
        if schema != "information_schema":
            metadata = MetaData()
            metadata.reflect(connection, schema=schema)
            yield from metadata.sorted_tables


def _only_instance(connection: Connection, tables: list[Table]) -> str:
    ids = {
        str(found)
        for table in tables
        for column in table.c
        if column.name in ID_COLUMNS
        for found in connection.scalars(select(column))
        if found is not None
    }
    if len(ids) != 1:
        raise SystemExit(f"there are {len(ids)} instances instead of one")
    return ids.pop()


def core_of(instance_id: str) -> str:
    """The random part at the end of an id."""
    found = re.search(r"[0-9a-f-]{32,36}$", instance_id)
    return found[0].strip("-") if found else instance_id


def _copy(connection: Connection, table: Table, core: str, first: int, last: int) -> None:
    numbered = [column for column in table.primary_key if not isinstance(column.type, String)]
    columns = [column for column in table.c if len(table.primary_key) > 1 or column not in numbered]
    texts = [column.name for column in columns if isinstance(column.type, String)]
    if not texts:
        return
    quote = connection.dialect.identifier_preparer.quote
    values = [
        f"replace({quote(column.name)}, :core, fresh)" if column.name in texts else quote(column.name)
        for column in columns
    ]
    ours = " OR ".join(f"{quote(name)} LIKE :pattern" for name in texts)
    name = connection.dialect.identifier_preparer.format_table(table)
    # The rows are chosen once and for all: the copies are in the same table, and it grows. In the order
    # of their ids one after the other goes to the same page of an index, where the next page may be anywhere.
    statement = (
        f"INSERT INTO {name} ({', '.join(quote(column.name) for column in columns)}) "
        f"WITH RECURSIVE original AS MATERIALIZED (SELECT * FROM {name} WHERE {ours}), "
        f"counted AS ({COUNTED[connection.dialect.name]}), "
        "renamed AS MATERIALIZED (SELECT md5(CAST(n AS text) || :core) AS fresh FROM counted ORDER BY fresh) "
        f"SELECT {', '.join(values)} FROM original CROSS JOIN renamed"
    )
    connection.execute(text(statement), {"core": core, "pattern": f"%{core}%", "first": first, "last": last})


def _md5(value: str) -> str:
    return hashlib.md5(value.encode(), usedforsecurity=False).hexdigest()


if __name__ == "__main__":
    db_url, count, *named = sys.argv[1:]
    multiply(db_url, int(count), *named, alone=not named)
