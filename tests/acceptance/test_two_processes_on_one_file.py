"""Two processes with transactions of their own on one SQLite file: nothing is lost or there twice."""

from __future__ import annotations

import asyncio
from pathlib import Path

from sqlalchemy import select, text

from edda import EddaApp, RetryPolicy, WorkflowContext, activity, workflow
from tests.support.eventually import eventually
from tests.support.rows import create_tables, put, rows, storage_of
from tests.support.workers import Workers

ORDERS = 40
AT_ONCE = 8
booked: list[str] = []


@activity(retry_policy=RetryPolicy(max_attempts=1))
async def book(ctx: WorkflowContext, name: str) -> int:
    """Adds a row and raises the counter, which it reads first: so an update that is lost is seen."""
    booked.append(name)
    counted = int((await ctx.session.scalars(text("SELECT n FROM counter"))).one())
    await put(ctx, name)
    await ctx.session.execute(text("UPDATE counter SET n = :n"), {"n": counted + 1})
    return counted


@activity(retry_policy=RetryPolicy(max_attempts=1))
def confirm(ctx: WorkflowContext, name: str) -> int:
    """As :func:`book`, in a thread."""
    counted = int(ctx.sync_session.scalars(text("SELECT n FROM counter")).one())
    ctx.sync_session.execute(text("UPDATE counter SET n = :n"), {"n": counted + 1})
    return counted


@workflow
async def order(ctx: WorkflowContext, name: str) -> list[int]:
    return [await book(ctx, name), await confirm(ctx, name)]


async def run_orders(url: str, process: str, go: str) -> None:
    """The program of each process: an error of any order ends it."""
    room = asyncio.Semaphore(AT_ONCE)
    async with EddaApp("shop", url):
        print("ready")
        await eventually(lambda: _assert(Path(go).exists()))

        async def one(number: int) -> None:
            async with room:
                await order.start(name=f"{process} {number:02}")

        await asyncio.gather(*(one(number) for number in range(ORDERS)))
        print(len(booked), "attempts")


async def test_transactions_of_two_processes_neither_get_lost_nor_in_each_others_way(
    workers: Workers, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    async with EddaApp("reader", url) as app:
        await create_tables(app)
        transaction = storage_of(app).transaction()
        await transaction.session.execute(text("CREATE TABLE counter (n INTEGER)"))
        await transaction.session.execute(text("INSERT INTO counter VALUES (0)"))
        await transaction.commit([])

    target = f"{run_orders.__module__}:run_orders"
    go = tmp_path / "go"
    both = [await workers.start(target, url, process, go) for process in ("a", "b")]
    for worker in both:
        await worker.wait_for_line("ready")
    go.touch()
    for worker in both:
        assert await worker.wait() == 0, worker.output
        assert "locked" not in worker.output
        # Whoever finds the file locked waits for it: no attempt is spent on that.
        assert f"{ORDERS} attempts" in worker.lines

    async with EddaApp("reader", url) as app:
        assert await rows(app) == [f"{process} {number:02}" for process in "ab" for number in range(ORDERS)]
        async with storage_of(app).engine.connect() as connection:
            assert await connection.scalar(text("SELECT n FROM counter")) == 4 * ORDERS
            counts = select(text("status"), text("count(*)")).select_from(text("workflow_instances"))
            assert (await connection.execute(counts.group_by(text("status")))).all() == [
                ("completed", 2 * ORDERS)
            ]


def _assert(condition: bool) -> None:
    assert condition
