from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import Connection

from edda.storage import waiters, waits
from edda.storage.dialects.base import Dialect
from edda.storage.records import ClaimedInstance
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.writes import RollbackBegun, RunParked, RunReleased, WaitsRegistered
from edda.types import Status
from tests.storage.plans import plans_of
from tests.support.messages import COMPETING, asleep, message, receiving, sleeper_of, subscriber_of
from tests.support.writes import WORKFLOW, claim, claim_due, lease, leased, run_of, wait

MANY = 1000


async def test_as_many_are_woken_as_there_are_messages(storage: SQLAlchemyStorage) -> None:
    """With those that nobody has taken yet: whoever was woken for them may never come."""
    await asyncio.gather(*(sleeper_of(storage, "jobs", COMPETING) for _ in range(5)))
    for expected in (1, 2, 2):
        await storage.submit(message("jobs"))
        assert len(await storage.submit(claim_due())) == expected


async def test_a_run_that_waits_twice_is_woken_as_one(storage: SQLAlchemyStorage) -> None:
    twice = await subscriber_of(storage, "jobs", COMPETING)
    await storage.submit(asleep(twice, receiving("jobs", "receive:1"), receiving("jobs", "receive:2")))
    once = await sleeper_of(storage, "jobs", COMPETING)
    await asyncio.gather(storage.submit(message("jobs")), storage.submit(message("jobs")))
    claimed = {one.lease.instance_id for one in await storage.submit(claim_due())}
    assert claimed == {twice.instance_id, once.instance_id}


async def test_a_timer_does_not_keep_a_message_from_waking(storage: SQLAlchemyStorage) -> None:
    held = await subscriber_of(storage, "news")
    await storage.submit(asleep(held, receiving("news", seconds=500), wait("sleep:1", 300)))
    assert await storage.seconds_until_due([WORKFLOW]) == pytest.approx(300, abs=5)
    await storage.submit(message("news"))
    assert await storage.seconds_until_due([WORKFLOW]) == 0


async def test_one_that_compensates_is_woken_as_well(storage: SQLAlchemyStorage) -> None:
    held, aside = [await subscriber_of(storage, "news") for _ in range(2)]
    for run in (held, aside):
        await storage.submit(RollbackBegun(run, '{"error_message":"no"}'))
        await storage.submit(RunParked(run, Status.COMPENSATING, "receive:1", (receiving("news"),)))
    (claimed,) = [await storage.submit(claim(aside.instance_id))]
    assert isinstance(claimed, ClaimedInstance)
    await storage.submit(RunReleased(claimed.lease, 500.0, "trouble"))
    await storage.submit(message("news"))
    await storage.submit(message("news", target=aside.instance_id))
    assert [one.lease.instance_id for one in await storage.submit(claim_due())] == [held.instance_id]


async def test_one_that_is_due_keeps_its_place(storage: SQLAlchemyStorage) -> None:
    """The oldest is claimed first: a message does not send back who waits for its turn already."""
    early, late = [await subscriber_of(storage, "news") for _ in range(2)]
    for held in (early, late):
        await storage.submit(asleep(held, receiving("news")))
        await storage.submit(message("news", target=held.instance_id))
    await storage.submit(message("news", target=early.instance_id))
    (claimed,) = await storage.submit(claim_due(limit=1))
    assert claimed.lease.instance_id == early.instance_id


async def test_among_many_they_are_found_in_their_indexes(storage: SQLAlchemyStorage) -> None:
    dialect = storage.dialect
    runs = [lease() for _ in range(MANY)]
    await asyncio.gather(*(storage.submit(leased(held)) for held in runs))
    filling = [
        (held, receiving(f"news-{number}", f"receive:{number}")) for held in runs for number in range(100)
    ]

    def fill(connection: Connection) -> None:
        waits.register(connection, dialect, filling)

    assert storage._writer is not None
    await storage._writer._committer.commit(fill)
    held = await run_of(storage)
    await storage.submit(WaitsRegistered(held, (receiving("news"),)))
    plans = await plans_of(storage, lambda connection: _ask(connection, dialect, held.instance_id))
    by_channel, by_target, waking = plans
    assert "ix_workflow_waits_channel" in by_channel
    assert "ix_workflow_instances_chain_id_status" in by_target
    assert "ix_workflow_waits_channel" not in by_target
    for plan in plans:
        for table in ("workflow_waits", "workflow_instances"):
            for reading in (f"scan {table}", f"seq scan on {table}", f"'{table}', 'all'"):
                assert reading not in plan
    assert "workflow_instances" in waking or dialect.name == "sqlite"


def _ask(connection: Connection, dialect: Dialect, instance_id: str) -> None:
    waiters.of_channels(connection, dialect, {"news": 10})
    waiters.of_targets(connection, dialect, {("news", instance_id)})
    waiters.wake(connection, dialect, [instance_id])
