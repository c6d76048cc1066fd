from __future__ import annotations

import asyncio

from sqlalchemy import Connection

from edda.storage import subscriptions
from edda.storage.records import Subscription
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.subscriptions import Subscribing
from tests.storage.plans import plans_of
from tests.support.messages import BROADCAST, COMPETING, subscriber_of, subscription
from tests.support.writes import run_of


async def test_subscriptions_are_those_of_one_subscriber(storage: SQLAlchemyStorage) -> None:
    held = await subscriber_of(storage, "news")
    await storage.submit(subscription(held, "jobs", COMPETING))
    await subscriber_of(storage, "other")
    expected = [Subscription("jobs", COMPETING), Subscription("news", BROADCAST)]
    assert await storage.load_subscriptions(held.instance_id) == expected
    assert await storage.load_subscriptions("unknown") == []


async def test_one_run_can_have_many(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    names = [f"news-{number:03}" for number in range(100)]
    await asyncio.gather(*(storage.submit(subscription(held, name)) for name in names))
    found = await storage.load_subscriptions(held.instance_id)
    assert [one.channel for one in found] == names


async def test_among_many_they_are_found_in_their_indexes(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    dialect, ids = storage.dialect, [held.instance_id]

    def fill(connection: Connection) -> None:
        keys = [(f"{held.instance_id}-{number // 10}", f"news-{number}") for number in range(100_000)]
        subscriptions.insert(connection, dialect, {key: Subscribing(BROADCAST, 0) for key in keys})

    assert storage._writer is not None
    await storage._writer._committer.commit(fill)
    key = (held.instance_id, "news")
    of_instance, conflict, advanced = await plans_of(
        storage,
        lambda connection: (
            subscriptions.of_instances(connection, dialect, ids),
            subscriptions.in_use(connection, dialect, {("news", COMPETING)}),
            subscriptions.advance(connection, dialect, {key: (1, 2)}),
        ),
    )
    by_key = {"sqlite": "(subscriber_id=?", "postgresql": "pk_workflow_subscriptions", "mysql": "'primary'"}
    assert by_key[dialect.name] in of_instance
    assert by_key[dialect.name] in advanced
    assert "ix_workflow_subscriptions_mode_channel" in conflict
    for plan in (of_instance, conflict, advanced):
        assert "scan workflow_subscriptions" not in plan
        assert "seq scan" not in plan
        assert "'workflow_subscriptions', 'all'" not in plan
