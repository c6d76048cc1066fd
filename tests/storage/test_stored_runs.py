"""All that is stored of many runs costs three queries."""

from __future__ import annotations

import asyncio

from edda.storage.records import StoredRun, Subscription
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.types import ChannelMode
from tests.support.messages import subscription
from tests.support.statements import counted
from tests.support.writes import parked, run_of, step, wait


async def test_many_runs_are_read_with_three_queries_each_with_its_own_rows(
    storage: SQLAlchemyStorage,
) -> None:
    runs = [await run_of(storage) for _ in range(12)]
    for number, held in enumerate(runs):
        await storage.submit(subscription(held, f"news-{number}"))
        await storage.submit(step(held, f"z:{number}"))
        await storage.submit(step(held, f"a:{number}"))
        await storage.submit(parked(held, wait(f"later:{number}", 60), wait(f"soon:{number}", 30)))
    with counted() as statements:
        stored = await asyncio.gather(
            *(storage.load_run(held.instance_id, held.instance_id) for held in runs)
        )
    assert len(statements.texts) == 3, statements.texts
    for number, run in enumerate(stored):
        # Histories in the order of recording, waits in the order in which they are due.
        assert [record.activity_id for record in run.history] == [f"z:{number}", f"a:{number}"]
        assert [record.activity_id for record in run.waits] == [f"soon:{number}", f"later:{number}"]
        assert run.subscriptions == [Subscription(f"news-{number}", ChannelMode.BROADCAST)]


async def test_subscriptions_are_those_of_the_chain(storage: SQLAlchemyStorage) -> None:
    first, second = await run_of(storage), await run_of(storage)
    await storage.submit(subscription(first, "news"))
    run = await storage.load_run(second.instance_id, first.instance_id)
    assert [held.channel for held in run.subscriptions] == ["news"]


async def test_of_an_unknown_run_nothing_is_stored(storage: SQLAlchemyStorage) -> None:
    assert await storage.load_run("unknown", "unknown") == StoredRun([], [], [])
