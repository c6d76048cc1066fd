from __future__ import annotations

import asyncio
import itertools
import json
from datetime import datetime, timedelta

import pytest

from edda import clock
from edda.storage.dialects.base import Attempt
from edda.storage.message_writes import ModeConflict, NoMessage, Taken
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.writes import AlreadyRecorded, Verdict, WaitsRegistered
from edda.types import EventType
from tests.storage.batches import apply_batch
from tests.support.messages import (
    BROADCAST,
    COMPETING,
    data_of,
    message,
    receiving,
    subscriber_of,
    subscription,
    take_all,
    taking,
)
from tests.support.writes import finished, lease, run_of, step, taken_over

TwoStorages = tuple[SQLAlchemyStorage, SQLAlchemyStorage]


async def test_what_was_taken_is_the_outcome_of_the_step(storage: SQLAlchemyStorage) -> None:
    held = await subscriber_of(storage, "orders:direct")
    sent = message("orders:direct", {"a": 1}, types='{"/a":"x"}')
    await storage.submit(sent)
    take = taking(held, "orders:direct", "receive_orders:1")
    answer = await storage.submit(take)
    assert isinstance(answer, Taken)
    fields = json.loads(answer.event_data)
    published_at = datetime.fromisoformat(fields.pop("published_at"))
    assert abs(published_at - clock.now()) < timedelta(seconds=30)
    assert published_at.utcoffset() == timedelta(0)
    assert fields == {
        "id": sent.message_id,
        "channel": take.shown_channel,
        "data": {"a": 1},
        "types": {"/a": "x"},
        "metadata": {},
    }
    (record,) = await storage.load_history(held.instance_id)
    assert (record.activity_id, record.event_type) == (
        "receive_orders:1",
        EventType.CHANNEL_MESSAGE_RECEIVED,
    )
    assert json.loads(record.event_data) == json.loads(answer.event_data)


async def test_where_nothing_is_nothing_is_written(storage: SQLAlchemyStorage) -> None:
    held, stranger = await subscriber_of(storage, "news"), await run_of(storage)
    await storage.submit(WaitsRegistered(held, (receiving("news", "receive:1"),)))
    assert await storage.submit(taking(held, "news", "receive:1")) is NoMessage.NOTHING_THERE
    assert await storage.submit(taking(stranger, "news")) is NoMessage.NOT_SUBSCRIBED
    assert await storage.submit(taking(stranger, "news", timeout_data="{}")) is NoMessage.NOT_SUBSCRIBED
    assert await storage.load_history(held.instance_id) == []
    assert len(await storage.load_waits(held.instance_id)) == 1


@pytest.mark.parametrize("there", [True, False])
async def test_taking_ends_the_wait_of_its_step_alone(storage: SQLAlchemyStorage, *, there: bool) -> None:
    held = await subscriber_of(storage, "news")
    waits = (receiving("news", "receive:1"), receiving("news", "receive:2"))
    await storage.submit(WaitsRegistered(held, waits))
    if there:
        await storage.submit(message("news"))
    timeout = '{"_error":true}'
    answer = await storage.submit(taking(held, "news", "receive:1", timeout_data=timeout))
    (record,) = await storage.load_history(held.instance_id)
    if there:
        assert data_of(answer) == 1
    else:
        assert answer is NoMessage.TIMED_OUT
        assert (record.event_type, record.event_data) == (EventType.MESSAGE_TIMEOUT, timeout)
    assert [wait.activity_id for wait in await storage.load_waits(held.instance_id)] == ["receive:2"]


async def test_takes_of_one_batch_get_successive_messages(storage: SQLAlchemyStorage) -> None:
    held = await subscriber_of(storage, "news")
    for number in range(5):
        target = held.instance_id if number == 2 else None
        await storage.submit(message("news", number, target=target))
    answers = await apply_batch(storage, Attempt.FIRST, *(taking(held, "news") for _ in range(6)))
    assert [data_of(answer) for answer in answers[:5]] == [0, 1, 2, 3, 4]
    assert answers[5] is NoMessage.NOTHING_THERE
    assert await take_all(storage, held, "news") == []


async def test_competitors_of_one_batch_get_different_messages(storage: SQLAlchemyStorage) -> None:
    runs = [await subscriber_of(storage, "jobs", COMPETING) for _ in range(4)]
    for number in range(3):
        await storage.submit(message("jobs", number))
    answers = await apply_batch(storage, Attempt.FIRST, *(taking(held, "jobs") for held in runs))
    assert [data_of(answer) for answer in answers[:3]] == [0, 1, 2]
    assert answers[3] is NoMessage.NOTHING_THERE


async def test_competitors_take_what_came_before_them(storage: SQLAlchemyStorage) -> None:
    await storage.submit(message("jobs", "early"))
    held = await subscriber_of(storage, "jobs", COMPETING)
    await storage.submit(message("jobs", "late"))
    assert await take_all(storage, held, "jobs") == ["early", "late"]


async def test_competitors_in_two_processes_take_each_message_once(two_storages: TwoStorages) -> None:
    runs = [
        (storage, await subscriber_of(storage, "jobs", COMPETING)) for storage in two_storages for _ in "ab"
    ]
    for number in range(100):
        await two_storages[number % 2].submit(message("jobs", number))
    taken = await asyncio.gather(*(take_all(storage, held, "jobs") for storage, held in runs))
    assert sorted(itertools.chain(*taken)) == list(range(100))
    assert all(found == sorted(found) for found in taken)


# -- subscribing on the way --------------------------------------------------------------


async def test_taking_can_begin_with_a_subscription(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    await storage.submit(message("news", "early"))
    assert await storage.submit(taking(held, "news", subscribe=True)) is NoMessage.NOTHING_THERE
    await storage.submit(message("news", "late"))
    assert data_of(await storage.submit(taking(held, "news", subscribe=True))) == "late"


async def test_a_subscription_that_is_there_is_used(storage: SQLAlchemyStorage) -> None:
    held, other = await subscriber_of(storage, "jobs", COMPETING), await run_of(storage)
    await storage.submit(message("jobs"))
    assert await storage.submit(taking(other, "jobs", subscribe=True)) == ModeConflict(COMPETING)
    assert data_of(await storage.submit(taking(held, "jobs", subscribe=True))) == 1


async def test_without_the_lease_no_subscription_begins(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    lost = lease(held.instance_id, token=9)
    assert await storage.submit(taking(lost, "news", subscribe=True)) is Verdict.LEASE_LOST
    assert await storage.load_subscriptions(held.instance_id) == []


# -- once and for all --------------------------------------------------------------------


@pytest.mark.parametrize("mode", [BROADCAST, COMPETING])
async def test_a_lost_lease_changes_nothing(storage: SQLAlchemyStorage, mode: object) -> None:
    old = await run_of(storage, seconds=-1)
    await storage.submit(subscription(old, "news", BROADCAST if mode is BROADCAST else COMPETING))
    await storage.submit(message("news", "all"))
    await storage.submit(message("news", "one", target=old.instance_id))
    new = await taken_over(storage, old.instance_id)
    neighbour = await run_of(storage)
    answers = await asyncio.gather(
        storage.submit(taking(old, "news", "receive:1")),
        storage.submit(step(neighbour)),
        storage.submit(taking(lease("unknown"), "news")),
    )
    assert list(answers) == [Verdict.LEASE_LOST, Verdict.ACCEPTED, Verdict.LEASE_LOST]
    assert await storage.load_history(old.instance_id) == []
    assert await take_all(storage, new, "news") == ["all", "one"]


@pytest.mark.parametrize("attempt", [Attempt.REPEATED, Attempt.UNCERTAIN, Attempt.SEPARATE])
@pytest.mark.parametrize("mode", [BROADCAST, COMPETING])
async def test_a_step_takes_one_message_however_often_it_is_tried(
    storage: SQLAlchemyStorage, attempt: Attempt, mode: object
) -> None:
    held = await subscriber_of(storage, "news", BROADCAST if mode is BROADCAST else COMPETING)
    for number in range(3):
        await storage.submit(message("news", number))
    take = taking(held, "news", "receive:1")
    (first,) = await apply_batch(storage, attempt, take)
    (again,) = await apply_batch(storage, Attempt.UNCERTAIN, take)
    third = await storage.submit(take)
    assert data_of(first) == 0
    for answer in (again, third):
        assert isinstance(answer, AlreadyRecorded)
        assert answer.record.event_data == first.event_data
    assert await take_all(storage, held, "news") == [1, 2]


async def test_a_step_that_is_twice_in_a_batch_takes_one_message(storage: SQLAlchemyStorage) -> None:
    held = await subscriber_of(storage, "news")
    for number in range(3):
        await storage.submit(message("news", number))
    take = taking(held, "news", "receive:1")
    answers = await asyncio.gather(storage.submit(take), storage.submit(take))
    assert [data_of(answer) for answer in answers] == [0, 0]
    assert await take_all(storage, held, "news") == [1, 2]


async def test_after_the_end_nothing_is_taken(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    await storage.submit(message("news", target=held.instance_id))
    await storage.submit(finished(held))
    assert await storage.submit(taking(held, "news")) is Verdict.LEASE_LOST


async def test_what_a_transaction_took_is_there_again_when_it_is_undone(storage: SQLAlchemyStorage) -> None:
    held = await subscriber_of(storage, "jobs", COMPETING)
    await storage.submit(message("jobs"))
    transaction = storage.transaction()
    lost = step(lease(held.instance_id, token=9))
    await transaction.commit([taking(held, "jobs"), lost])
    assert await take_all(storage, held, "jobs") == [1]


async def test_two_transactions_of_one_run_take_different_messages(two_storages: TwoStorages) -> None:
    """A take that waits for another one of the same subscriber looks again."""
    held = await subscriber_of(two_storages[0], "news")
    for number in range(20):
        await two_storages[0].submit(message("news", number))
    taken = await asyncio.gather(*(take_all(storage, held, "news") for storage in two_storages))
    assert sorted(itertools.chain(*taken)) == list(range(20))
