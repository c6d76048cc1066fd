"""What the workers of the chaos suite run: orders as sagas, with side effects in tables of the application.

``DATABASE_URL``: the database. ``APP``: JSON of options of the app.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from typing import cast

from sqlalchemy import Column, Integer, MetaData, String, Table, insert, update
from sqlalchemy.ext.asyncio import AsyncEngine

from edda import TerminalError
from edda.activity import activity
from edda.app import EddaApp
from edda.channels import receive, send_to, sleep, subscribe
from edda.compensation import on_failure
from edda.context import WorkflowContext
from edda.exceptions import StorageError
from edda.outbox import OutboxRelayer, send_event_transactional
from edda.workflow import workflow
from tests.support.durable_programs import say
from tests.support.eventually import pause

ITEMS = 10
IN_STOCK = 1_000_000

metadata = MetaData()
stock = Table(
    "chaos_stock",
    metadata,
    Column("item", Integer, primary_key=True, autoincrement=False),
    Column("left", Integer),
)
# Without a key over order and entry, so that what was done twice is there twice.
ledger = Table(
    "chaos_ledger",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("number", Integer),
    Column("entry", String(20)),
)


async def make_tables(engine: AsyncEngine) -> None:
    """The tables of the application, with a full stock."""
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
        await connection.execute(insert(stock), [{"item": n, "left": IN_STOCK} for n in range(ITEMS)])


def fails(number: int) -> bool:
    """Whether this order cannot be shipped, so that it is undone."""
    return number % 4 == 3


async def _enter(ctx: WorkflowContext, number: int, entry: str) -> None:
    await ctx.session.execute(insert(ledger).values(number=number, entry=entry))


async def _tell(ctx: WorkflowContext, number: int, what: str) -> None:
    await send_event_transactional(ctx, f"order.{what}", f"/orders/{number}", {"number": number})


async def _take(ctx: WorkflowContext, number: int, count: int) -> None:
    taken = update(stock).where(stock.c.item == number % ITEMS).values(left=stock.c.left - count)
    await ctx.session.execute(taken)


async def _work_for(number: int, factor: int) -> None:
    await pause((number * factor) % 10 / 50)


@activity
async def release(ctx: WorkflowContext, number: int) -> None:
    await _enter(ctx, number, "released")
    await _take(ctx, number, -1)


@activity
@on_failure(release)
async def reserve(ctx: WorkflowContext, number: int) -> int:
    await _work_for(number, 7)
    await _enter(ctx, number, "reserved")
    await _take(ctx, number, 1)
    return number


@activity
async def quote(ctx: WorkflowContext, number: int) -> int:
    """Without a transaction of its own."""
    await _work_for(number, 3)
    return 2 * number


@activity
async def refund(ctx: WorkflowContext, number: int) -> None:
    await _enter(ctx, number, "refunded")
    await _tell(ctx, number, "refunded")


@activity
@on_failure(refund)
async def charge(ctx: WorkflowContext, number: int, price: int) -> int:
    await _enter(ctx, number, "charged")
    await _tell(ctx, number, "charged")
    await _work_for(number, 11)
    return price


@activity
async def confirm(ctx: WorkflowContext, number: int) -> None:
    await _enter(ctx, number, "confirmed")
    await send_to(ctx, ctx.instance_id, {"number": number})


@activity
async def ship(ctx: WorkflowContext, number: int) -> None:
    await _enter(ctx, number, "shipped")
    await _tell(ctx, number, "shipped")
    if fails(number):
        raise TerminalError("out of stock")


@workflow
async def chaos_order(ctx: WorkflowContext, number: int) -> int:
    """One order: what it reserves and charges is undone if it cannot be shipped."""
    await subscribe(ctx, "__direct__", "direct")
    await reserve(ctx, number)
    price = await charge(ctx, number, await quote(ctx, number))
    await sleep(ctx, 0.1 + number % 10 / 10)
    await confirm(ctx, number)
    message = await receive(ctx, "__direct__")
    await ship(ctx, cast("dict[str, int]", message.data)["number"])
    return price


async def work() -> None:
    """One worker, until SIGTERM."""
    logging.basicConfig(level=logging.INFO, stream=sys.stdout)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    options = json.loads(os.environ["APP"])
    app = EddaApp("chaos", os.environ["DATABASE_URL"], outbox_enabled=True, **options)
    app.outbox_options = {"poll_interval": 0.2}
    # Events that a killed worker was sending are sent again when its lease of them ends.
    OutboxRelayer.send_seconds, OutboxRelayer.lease_seconds = 2.0, 5.0
    await _initialize(app)
    say("ready", app.worker_id)
    await stop.wait()
    await app.shutdown()
    say("stopped")


async def _initialize(app: EddaApp) -> None:
    while True:
        try:
            return await app.initialize()
        except StorageError as error:  # the database is away, as so often here
            say("waits:", error)
            await pause(0.2)
