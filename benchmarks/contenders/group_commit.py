"""Group commit through SQLAlchemy Core, and the rows that the floors write with it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

from sqlalchemy import (
    Column,
    Executable,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    bindparam,
    event,
    insert,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

METADATA = MetaData()
INSTANCES = Table(
    "floor_instances",
    METADATA,
    Column("instance_id", String(200), primary_key=True),
    Column("status", String(30), nullable=False),
    Column("input", Text),
    Column("output", Text),
    Column("locked_by", String(100)),
)
HISTORY = Table(
    "floor_history",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("instance_id", String(200), nullable=False),
    Column("activity_id", String(200), nullable=False),
    Column("event_type", String(50), nullable=False),
    Column("data", Text),
    UniqueConstraint("instance_id", "activity_id"),
)
MESSAGES = Table(
    "floor_messages",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("channel", String(200), nullable=False),
    Column("sent", Float(53), nullable=False),
)
NEW_INSTANCE = insert(INSTANCES)
STEP = insert(HISTORY)
FINISHED = (
    update(INSTANCES)
    .where(INSTANCES.c.instance_id == bindparam("finished_id"))
    .values(status="completed", output=bindparam("result"))
)
NEW_MESSAGE = insert(MESSAGES)
STATEMENTS = (NEW_INSTANCE, NEW_MESSAGE, STEP, FINISHED)

Row = Mapping[str, Any]


class GroupCommit:
    """Collects rows while a commit is in flight, and answers each writer after its own."""

    def __init__(self) -> None:
        self._rows: dict[Executable, list[Row]] = {statement: [] for statement in STATEMENTS}
        self._waiting: list[asyncio.Future[None]] = []
        self._wake = asyncio.Event()

    def write(self, statement: Executable, row: Row) -> asyncio.Future[None]:
        done = asyncio.get_running_loop().create_future()
        self._rows[statement].append(row)
        self._waiting.append(done)
        self._wake.set()
        return done

    async def run(self, engine: AsyncEngine) -> None:
        async with engine.connect() as connection:
            while True:
                await self._wake.wait()
                self._wake.clear()
                await self._commit(connection)

    async def _commit(self, connection: AsyncConnection) -> None:
        groups, self._rows = self._rows, {statement: [] for statement in STATEMENTS}
        waiting, self._waiting = self._waiting, []
        async with connection.begin():
            for statement, rows in groups.items():
                if rows:
                    await connection.execute(statement, rows)
        for done in waiting:
            done.set_result(None)


@contextlib.asynccontextmanager
async def group_commit(db_url: str) -> AsyncIterator[tuple[GroupCommit, AsyncEngine]]:
    """Empty tables, and a writer into them."""
    engine = create_async_engine(db_url)
    if engine.dialect.name == "sqlite":
        event.listen(engine.sync_engine, "connect", _durable_sqlite)
    async with engine.begin() as connection:
        await connection.run_sync(METADATA.create_all)
    writer = GroupCommit()
    task = asyncio.create_task(writer.run(engine))
    try:
        yield writer, engine
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await engine.dispose()


def _durable_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("pragma journal_mode=wal")
    cursor.execute("pragma synchronous=full")
    cursor.close()
