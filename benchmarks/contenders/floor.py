"""The floor: the rows of the step workload, group-committed through SQLAlchemy Core, and no engine at all.

A "workflow" inserts its instance, inserts one history row per step and updates the
instance at the end. Each of these is awaited until its commit has returned; while one
commit is in flight, what the others want to write collects for the next.
"""

# mypy: disable-error-code="import-not-found"
# (closed_loop is found beside the script.)

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Mapping
from typing import Any

from closed_loop import Arguments, arguments, measure
from sqlalchemy import (
    Column,
    Executable,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    bindparam,
    event,
    func,
    insert,
    select,
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
NEW_INSTANCE = insert(INSTANCES)
STEP = insert(HISTORY)
FINISHED = (
    update(INSTANCES)
    .where(INSTANCES.c.instance_id == bindparam("finished_id"))
    .values(status="completed", output=bindparam("result"))
)
STATEMENTS = (NEW_INSTANCE, STEP, FINISHED)

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


async def run_workflow(writer: GroupCommit, steps: int) -> int:
    instance_id = f"add_up-{uuid.uuid4().hex}"
    await writer.write(
        NEW_INSTANCE,
        {
            "instance_id": instance_id,
            "status": "running",
            "input": json.dumps({"steps": steps}),
            "output": None,
            "locked_by": "bench",
        },
    )
    total = 0
    for i in range(steps):
        result = {"i": i}
        await writer.write(
            STEP,
            {
                "instance_id": instance_id,
                "activity_id": f"number:{i}",
                "event_type": "ActivityCompleted",
                "data": json.dumps(
                    {"activity_name": "number", "result": result, "input": {"args": [i], "kwargs": {}}}
                ),
            },
        )
        total += result["i"]
    await writer.write(
        FINISHED, {"finished_id": instance_id, "result": json.dumps({"result": {"total": total}})}
    )
    return total


def durable_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("pragma journal_mode=wal")
    cursor.execute("pragma synchronous=full")
    cursor.close()


async def check(engine: AsyncEngine, args: Arguments) -> None:
    """Every step of every workflow, the one that warmed up included, must be a row."""
    async with engine.connect() as connection:
        rows = await connection.scalar(select(func.count()).select_from(HISTORY))
    if rows != (args.workflows + 1) * args.steps:
        raise SystemExit(f"the floor wrote {rows} rows of {(args.workflows + 1) * args.steps}")


async def main() -> None:
    args = arguments()
    engine = create_async_engine(args.db_url)
    if engine.dialect.name == "sqlite":
        event.listen(engine.sync_engine, "connect", durable_sqlite)
    async with engine.begin() as connection:
        await connection.run_sync(METADATA.create_all)
    writer = GroupCommit()
    task = asyncio.create_task(writer.run(engine))
    try:
        await measure(lambda: run_workflow(writer, args.steps), args)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await check(engine, args)
    await engine.dispose()


asyncio.run(main())
