"""The floor: the rows of the message workload, group-committed through SQLAlchemy Core, and no engine at all.

A "workflow" inserts its instance and waits in memory. What wakes it is committed first: a message is
a row. What it received is a row of its history, committed before the line behind the wait. Between
processes the message comes as a PostgreSQL notification, sent in the transaction of its row.
"""

# mypy: disable-error-code="import-not-found"
# (arrivals, group_commit and waking are found beside the script.)

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Coroutine
from typing import Any

import asyncpg
from arrivals import ARRIVALS
from group_commit import FINISHED, HISTORY, NEW_INSTANCE, NEW_MESSAGE, STEP, GroupCommit, group_commit
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncEngine
from waking import Arguments, arguments, measure

NEWS = "news"
NOTIFY = text("SELECT pg_notify('floor', :message)")


class Floor:
    """Waiting workflows are tasks, and channels are queues in memory."""

    def __init__(self, writer: GroupCommit) -> None:
        self._writer = writer
        self._queues: dict[str, list[asyncio.Queue[float]]] = defaultdict(list)
        self._tasks: set[asyncio.Task[None]] = set()

    async def wait_for_messages(self, name: str, count: int) -> None:
        await self._start(name, channel=name, count=count)

    async def wait_for_news(self, name: str) -> None:
        await self._start(name, channel=NEWS, count=1)

    async def wait_until(self, name: str, due: float) -> None:
        await self._create(name)
        self._run(self._wait(name, due))

    async def publish(self, name: str, sent: float) -> None:
        await self._writer.write(NEW_MESSAGE, {"channel": name, "sent": sent})
        self.deliver(name, sent)

    async def broadcast(self, sent: float) -> None:
        await self.publish(NEWS, sent)

    def deliver(self, channel: str, sent: float) -> None:
        """What is committed reaches those who wait."""
        for queue in self._queues[channel]:
            queue.put_nowait(sent)

    async def finish(self) -> None:
        """Wait until all workflows have ended."""
        await asyncio.gather(*self._tasks)

    async def _start(self, name: str, *, channel: str, count: int) -> None:
        queue: asyncio.Queue[float] = asyncio.Queue()
        self._queues[channel].append(queue)
        await self._create(name)
        self._run(self._read(name, queue, count))

    async def _create(self, name: str) -> None:
        values = {"instance_id": name, "status": "waiting", "input": json.dumps({"name": name})}
        await self._writer.write(NEW_INSTANCE, {**values, "output": None, "locked_by": None})

    def _run(self, body: Coroutine[Any, Any, None]) -> None:
        self._tasks.add(asyncio.create_task(body))

    async def _read(self, name: str, queue: asyncio.Queue[float], count: int) -> None:
        for number in range(count):
            sent = await queue.get()
            await self._record(name, f"receive:{number}", {"data": {"sent": sent}})
            ARRIVALS.arrived(f"{name}:{number}", sent)
        await self._end(name)

    async def _wait(self, name: str, due: float) -> None:
        await asyncio.sleep(due - time.time())
        await self._record(name, "sleep:0", {"due": due})
        ARRIVALS.fired(f"{name}:0", due)
        await self._end(name)

    async def _record(self, name: str, step: str, outcome: dict[str, object]) -> None:
        row = {"instance_id": name, "activity_id": step, "event_type": "received"}
        await self._writer.write(STEP, {**row, "data": json.dumps(outcome)})

    async def _end(self, name: str) -> None:
        await self._writer.write(FINISHED, {"finished_id": name, "result": json.dumps(None)})


class Notifier:
    """The other process: commits a message together with its notification."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def publish(self, name: str, sent: float) -> None:
        async with self._engine.begin() as connection:
            await connection.execute(NEW_MESSAGE, {"channel": name, "sent": sent})
            await connection.execute(NOTIFY, {"message": json.dumps([name, sent])})


async def listen(floor: Floor, args: Arguments) -> asyncpg.Connection:
    connection = await asyncpg.connect(args.db_url.replace("+asyncpg", ""))

    def heard(_connection: object, _pid: int, _channel: str, payload: str) -> None:
        floor.deliver(*json.loads(payload))

    await connection.add_listener("floor", heard)
    return connection


async def check(engine: AsyncEngine, args: Arguments) -> None:
    """Every wait, the one that warmed up included, must be a row."""
    async with engine.connect() as connection:
        rows = await connection.scalar(select(func.count()).select_from(HISTORY))
    if rows != args.count + 1:
        raise SystemExit(f"the floor wrote {rows} rows of {args.count + 1}")


async def main() -> None:
    args = arguments()
    async with group_commit(args.db_url) as (writer, engine):
        if args.publishes:
            await measure(Notifier(engine), args)
            return
        floor = Floor(writer)
        connection = await listen(floor, args) if args.load == "across" else None
        await measure(floor, args)
        await floor.finish()
        await check(engine, args)
        if connection is not None:
            await connection.close()


asyncio.run(main())
