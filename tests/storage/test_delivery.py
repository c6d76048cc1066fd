"""Whoever parks on a channel finds its message or is found by it, in whatever order things happen."""

from __future__ import annotations

import asyncio
import random

import pytest

from edda.storage.dialects.base import Attempt
from edda.storage.news import News
from edda.storage.records import Lease
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.writes import Parked, RollbackBegun, RunReleased, Verdict, WaitsEnded, WaitsRegistered
from edda.types import ChannelMode
from tests.storage.batches import apply_batch, apply_within
from tests.support.eventually import PATIENCE
from tests.support.messages import (
    BROADCAST,
    COMPETING,
    asleep,
    message,
    receiving,
    sleeper_of,
    subscriber_of,
    take_all,
)
from tests.support.writes import WORKFLOW, claim_due, finished, lease, parked, run_of, wait

TwoStorages = tuple[SQLAlchemyStorage, SQLAlchemyStorage]


# -- parking -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [BROADCAST, COMPETING])
@pytest.mark.parametrize("registered", [True, False])
async def test_who_parks_while_a_message_is_there_is_due_at_once(
    storage: SQLAlchemyStorage, mode: ChannelMode, *, registered: bool
) -> None:
    heard: list[News] = []
    held = await subscriber_of(storage, "news", mode)
    if registered:
        await storage.submit(WaitsRegistered(held, (receiving("news"),)))
    await storage.submit(message("news"))
    storage.listen(heard.append)
    assert await storage.submit(asleep(held, receiving("news"))) == Parked(0.0)
    assert heard == [News(woken={held.instance_id})]
    (claimed,) = await storage.submit(claim_due())
    assert await take_all(storage, claimed.lease, "news") == [1]


async def test_only_a_message_that_it_may_take_calls_a_parked_run(storage: SQLAlchemyStorage) -> None:
    held, stranger = await subscriber_of(storage, "news"), await run_of(storage)
    await storage.submit(message("news", target=stranger.instance_id))
    await storage.submit(message("other"))
    assert await storage.submit(asleep(held, receiving("news"), wait("sleep:1", 500))) != Parked(0.0)
    assert await storage.submit(asleep(stranger, receiving("other"))) == Parked(None)
    assert await storage.submit(claim_due()) == ()


async def test_what_was_read_calls_nobody(storage: SQLAlchemyStorage) -> None:
    held = await subscriber_of(storage, "news")
    await storage.submit(message("news"))
    await take_all(storage, held, "news")
    assert await storage.submit(asleep(held, receiving("news"))) == Parked(None)


async def test_a_message_for_it_alone_calls_a_run_without_a_subscription(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    await storage.submit(message("news", target=held.instance_id))
    assert await storage.submit(asleep(held, receiving("news"))) == Parked(0.0)


async def test_in_one_batch_message_and_parked_run_meet(storage: SQLAlchemyStorage) -> None:
    held, claimer = await subscriber_of(storage, "news"), claim_due()
    writes = (asleep(held, receiving("news")), claimer, message("news"))
    answer, claimed, _ = await apply_batch(storage, Attempt.FIRST, *writes)
    assert answer == Parked(0.0)
    assert [one.lease.instance_id for one in claimed] == [held.instance_id]


async def test_without_the_lease_nobody_is_called(storage: SQLAlchemyStorage) -> None:
    held = await subscriber_of(storage, "news")
    await storage.submit(message("news"))
    lost = lease(held.instance_id, token=9)
    assert await storage.submit(asleep(lost, receiving("news"))) is Verdict.LEASE_LOST
    assert await storage.submit(claim_due()) == ()


@pytest.mark.parametrize("first", ["publisher", "sleeper"])
async def test_publishing_and_parking_at_the_same_moment_wait_for_each_other(
    two_storages: TwoStorages, first: str
) -> None:
    """Whichever transaction has the channel first, the other one sees what it has done."""
    mine, other = two_storages
    if mine.dialect.name == "sqlite":
        pytest.skip("one writer at a time: nothing overlaps")
    held = await subscriber_of(mine, "news")
    parking, publishing = asleep(held, receiving("news")), message("news")
    ahead, behind = (publishing, parking) if first == "publisher" else (parking, publishing)
    transaction = mine.transaction()
    await apply_within(mine, transaction, ahead)
    late = asyncio.create_task(other.submit(behind))
    assert await asyncio.wait({late}, timeout=0.2) == (set(), {late}), "it waits for the channel"
    await transaction.commit([])
    await late
    (claimed,) = await mine.submit(claim_due())
    assert claimed.lease.instance_id == held.instance_id


@pytest.mark.parametrize("mode", [BROADCAST, COMPETING])
async def test_nobody_sleeps_while_a_message_waits(two_storages: TwoStorages, mode: ChannelMode) -> None:
    """One process publishes while runs of the other take, park and are claimed again, at random moments."""
    publisher, worker = two_storages
    runs = [await subscriber_of(worker, "news", mode) for _ in range(3)]
    wanted = 60 * (1 if mode is COMPETING else len(runs))
    received: list[int] = []

    async def publish() -> None:
        for number in range(60):
            for _ in range(random.randrange(5)):
                await publisher.load_waits("nobody")
            await publisher.submit(message("news", number))

    async def receive(held: Lease) -> None:
        while len(received) < wanted:
            received.extend(await take_all(worker, held, "news"))
            await worker.submit(asleep(held, receiving("news")))
            while len(received) < wanted:
                if claimed := await worker.submit(claim_due(limit=1)):
                    held = claimed[0].lease
                    break

    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(publish(), *(receive(held) for held in runs))
    assert sorted(received) == sorted(list(range(60)) * (wanted // 60))


# -- leaving -----------------------------------------------------------------------------


async def _woken_by_the_leaving(storage: SQLAlchemyStorage) -> tuple[Lease, Lease]:
    """Two that compete: one is woken for the only message, the other sleeps."""
    for _ in range(2):
        await sleeper_of(storage, "jobs", COMPETING)
    await storage.submit(message("jobs"))
    (claimed,) = await storage.submit(claim_due())
    assert await storage.submit(claim_due()) == ()
    return claimed.lease, claimed.lease


@pytest.mark.parametrize("way", ["ends", "is set aside", "is rolled back", "gives up", "gives up another"])
async def test_who_leaves_a_message_leaves_it_to_another(storage: SQLAlchemyStorage, way: str) -> None:
    held, _ = await _woken_by_the_leaving(storage)
    writes = {
        "ends": finished(held, subscriber=held.instance_id),
        "is set aside": RunReleased(held, 60.0, "trouble", subscriber=held.instance_id),
        "is rolled back": RollbackBegun(held, "{}", subscriber=held.instance_id),
        "gives up": WaitsEnded(held, ("receive:1",), channels=("jobs",)),
        "gives up another": WaitsEnded(held, ("receive:1",), channels=("news",)),
    }
    assert await storage.submit(writes[way]) is Verdict.ACCEPTED
    claimed = await storage.submit(claim_due())
    assert len(claimed) == (0 if way == "gives up another" else 1)
    for one in claimed:
        assert await take_all(storage, one.lease, "jobs") == [1]


async def test_who_does_not_hold_the_lease_leaves_nothing(storage: SQLAlchemyStorage) -> None:
    held, _ = await _woken_by_the_leaving(storage)
    lost = lease(held.instance_id, token=99)
    assert await storage.submit(finished(lost, subscriber=held.instance_id)) is Verdict.LEASE_LOST
    assert len(await storage.load_subscriptions(held.instance_id)) == 1
    assert await storage.submit(claim_due()) == ()


async def test_the_end_of_an_instance_ends_its_subscriptions(storage: SQLAlchemyStorage) -> None:
    held, other = await subscriber_of(storage, "news"), await subscriber_of(storage, "news")
    await storage.submit(finished(held, subscriber=held.instance_id))
    await storage.submit(finished(await run_of(storage), subscriber="nothing"))
    assert await storage.load_subscriptions(held.instance_id) == []
    assert len(await storage.load_subscriptions(other.instance_id)) == 1


async def test_one_that_was_set_aside_keeps_its_delay(storage: SQLAlchemyStorage) -> None:
    held = await sleeper_of(storage, "news")
    await storage.submit(message("news"))
    (claimed,) = await storage.submit(claim_due())
    await storage.submit(RunReleased(claimed.lease, 500.0, "trouble", subscriber=held.instance_id))
    await storage.submit(message("news"))
    assert await storage.seconds_until_due([WORKFLOW]) == pytest.approx(500, abs=5)


async def test_runs_without_channels_are_none_of_its_business(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    assert await storage.submit(parked(held, wait("a:1"))) == Parked(None)
    await storage.submit(message("a:1"))
    assert await storage.submit(claim_due()) == ()
