from __future__ import annotations

import asyncio

import pytest

from edda.storage.dialects.base import Attempt
from edda.storage.message_writes import ModeConflict
from edda.storage.records import Subscription
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.writes import AlreadyRecorded, Verdict
from edda.types import EventType
from tests.storage.batches import apply_batch
from tests.support.messages import (
    BROADCAST,
    COMPETING,
    message,
    sleeper_of,
    subscriber_of,
    subscription,
    take_all,
    unsubscription,
)
from tests.support.writes import claim_due, finished, lease, run_of, step

TwoStorages = tuple[SQLAlchemyStorage, SQLAlchemyStorage]
ACCEPTED, LOST = Verdict.ACCEPTED, Verdict.LEASE_LOST


async def test_a_subscriber_hears_what_comes_after_it_subscribed(storage: SQLAlchemyStorage) -> None:
    await storage.submit(message("news", "early"))
    held = await subscriber_of(storage, "news")
    await storage.submit(message("news", "late"))
    assert await storage.load_subscriptions(held.instance_id) == [Subscription("news", BROADCAST)]
    assert await take_all(storage, held, "news") == ["late"]


async def test_subscribing_again_changes_nothing(storage: SQLAlchemyStorage) -> None:
    held = await subscriber_of(storage, "news")
    await storage.submit(message("news"))
    assert await storage.submit(subscription(held, "news")) is ACCEPTED
    assert await take_all(storage, held, "news") == [1]


async def test_whoever_subscribes_first_decides_the_mode(storage: SQLAlchemyStorage) -> None:
    first, second = await subscriber_of(storage, "news"), await run_of(storage)
    conflict = ModeConflict(BROADCAST)
    assert await storage.submit(subscription(second, "news", COMPETING)) == conflict
    assert await storage.submit(subscription(first, "news", COMPETING)) == conflict, "itself too"
    assert await storage.load_subscriptions(second.instance_id) == []
    await storage.submit(message("news"))
    assert await take_all(storage, first, "news") == [1]


@pytest.mark.parametrize("leaving", ["unsubscribes", "ends"])
async def test_the_mode_is_free_when_the_last_one_has_gone(storage: SQLAlchemyStorage, leaving: str) -> None:
    first, second = await subscriber_of(storage, "news"), await subscriber_of(storage, "news")
    third = await run_of(storage)
    for held in (first, second):
        assert await storage.submit(subscription(third, "news", COMPETING)) == ModeConflict(BROADCAST)
        if leaving == "unsubscribes":
            await storage.submit(unsubscription(held, "news"))
        else:
            await storage.submit(finished(held, subscriber=held.instance_id))
    assert await storage.submit(subscription(third, "news", COMPETING)) is ACCEPTED
    assert await storage.submit(subscription(await run_of(storage), "news")) == ModeConflict(COMPETING)


async def test_of_two_modes_in_one_batch_the_first_wins(storage: SQLAlchemyStorage) -> None:
    runs = [await run_of(storage) for _ in range(3)]
    modes = (COMPETING, BROADCAST, COMPETING)
    writes = [subscription(held, "jobs", mode) for held, mode in zip(runs, modes, strict=True)]
    assert await apply_batch(storage, Attempt.FIRST, *writes) == [
        ACCEPTED,
        ModeConflict(COMPETING),
        ACCEPTED,
    ]


async def test_of_two_processes_one_wins(two_storages: TwoStorages) -> None:
    for number in range(20):
        runs = [await run_of(storage) for storage in two_storages]
        answers = await asyncio.gather(
            *(
                storage.submit(subscription(held, f"news-{number}", mode))
                for storage, held, mode in zip(two_storages, runs, (BROADCAST, COMPETING), strict=True)
            )
        )
        assert ACCEPTED in answers
        assert any(isinstance(answer, ModeConflict) for answer in answers)


async def test_the_end_of_a_subscription_is_the_end_of_messages(storage: SQLAlchemyStorage) -> None:
    held = await subscriber_of(storage, "news")
    await storage.submit(message("news", "missed"))
    for _ in range(2):
        assert await storage.submit(unsubscription(held, "news")) is ACCEPTED
    assert await storage.load_subscriptions(held.instance_id) == []
    await storage.submit(subscription(held, "news"))
    await storage.submit(message("news", "new"))
    assert await take_all(storage, held, "news") == ["new"]


async def test_what_a_competitor_leaves_is_for_the_others(storage: SQLAlchemyStorage) -> None:
    leaving = await subscriber_of(storage, "jobs", COMPETING)
    sleeping = await sleeper_of(storage, "jobs", COMPETING)
    writes = (message("jobs"), unsubscription(leaving, "jobs"))
    await apply_batch(storage, Attempt.FIRST, *writes)
    (claimed,) = await storage.submit(claim_due())
    assert claimed.lease.instance_id == sleeping.instance_id


# -- as steps ----------------------------------------------------------------------------


@pytest.mark.parametrize("attempt", [Attempt.FIRST, Attempt.REPEATED, Attempt.UNCERTAIN])
async def test_a_subscription_can_be_a_step(storage: SQLAlchemyStorage, attempt: Attempt) -> None:
    held = await run_of(storage)
    begin = subscription(held, "news", activity_id="subscribe:1", event_data='{"mode":1}')
    end = unsubscription(held, "news", activity_id="unsubscribe:1")
    for write in (begin, end):
        assert await apply_batch(storage, attempt, write, write) == [ACCEPTED, ACCEPTED]
        assert await apply_batch(storage, Attempt.UNCERTAIN, write) == [ACCEPTED]
    steps = [
        (r.activity_id, r.event_type, r.event_data) for r in await storage.load_history(held.instance_id)
    ]
    assert steps == [
        ("subscribe:1", EventType.CHANNEL_SUBSCRIBED, '{"mode":1}'),
        ("unsubscribe:1", EventType.CHANNEL_UNSUBSCRIBED, "{}"),
    ]
    assert await storage.load_subscriptions(held.instance_id) == []


async def test_a_step_that_is_recorded_otherwise_stands(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    await storage.submit(step(held, "subscribe:1"))
    for write in (
        subscription(held, "news", activity_id="subscribe:1"),
        unsubscription(held, "news", activity_id="subscribe:1"),
    ):
        answer = await storage.submit(write)
        assert isinstance(answer, AlreadyRecorded)
        assert answer.record.event_type is EventType.ACTIVITY_COMPLETED
    assert await storage.load_subscriptions(held.instance_id) == []


async def test_a_conflict_records_nothing(storage: SQLAlchemyStorage) -> None:
    held, _ = await run_of(storage), await subscriber_of(storage, "news")
    write = subscription(held, "news", COMPETING, activity_id="subscribe:1")
    assert await storage.submit(write) == ModeConflict(BROADCAST)
    assert await storage.load_history(held.instance_id) == []


async def test_without_the_lease_subscriptions_stay_as_they_are(storage: SQLAlchemyStorage) -> None:
    held = await subscriber_of(storage, "news")
    lost = lease(held.instance_id, token=9)
    for write in (
        subscription(lost, "other", activity_id="subscribe:1"),
        unsubscription(lost, "news", activity_id="unsubscribe:1"),
        subscription(lease("unknown"), "news"),
    ):
        assert await storage.submit(write) is LOST
    assert await storage.load_subscriptions(held.instance_id) == [Subscription("news", BROADCAST)]
    assert await storage.load_history(held.instance_id) == []
