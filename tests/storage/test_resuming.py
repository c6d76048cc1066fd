"""Parked runs that go on with a message: lease and message in one transaction, or neither."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from edda.clock import now
from edda.storage.dialects.base import Attempt
from edda.storage.message_writes import NoMessage, Taken
from edda.storage.records import Lease
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.writes import AlreadyRecorded, CancelRequested, Parked, RunReleased, Verdict
from edda.types import ChannelMode, Status
from tests.storage.batches import apply_batch
from tests.support.messages import (
    BROADCAST,
    COMPETING,
    asleep,
    data_of,
    message,
    receiving,
    resuming,
    sleeper_of,
    subscriber_of,
    take_all,
    taking,
)
from tests.support.writes import OTHER, claim_due, run_of, step, taken_over, wait

TwoStorages = tuple[SQLAlchemyStorage, SQLAlchemyStorage]


def next_lease(parked: Lease, owner: str | None = None) -> Lease:
    return replace(parked, token=parked.token + 1, owner=owner or parked.owner)


@pytest.mark.parametrize("mode", [BROADCAST, COMPETING])
async def test_lease_and_message_come_with_the_publication(
    storage: SQLAlchemyStorage, mode: ChannelMode
) -> None:
    parked = await sleeper_of(storage, "news", mode)
    _, answer = await apply_batch(storage, Attempt.FIRST, message("news", {"a": 1}), resuming(parked, "news"))
    assert data_of(answer) == {"a": 1}
    held = next_lease(parked)
    record = await storage.load_instance(parked.instance_id)
    assert record is not None
    assert (record.status, record.locked_by) == (Status.RUNNING, held.owner)
    assert [row.activity_id for row in await storage.load_history(parked.instance_id)] == ["receive:1"]
    assert await storage.load_waits(parked.instance_id) == []
    assert await storage.submit(claim_due()) == (), "nobody else is told to run it"
    assert await storage.submit(step(held)) is Verdict.ACCEPTED
    assert await storage.submit(step(parked, "late:1")) is Verdict.LEASE_LOST
    assert await take_all(storage, held, "news") == [], "the message is taken"


async def test_without_a_message_it_stays_parked(storage: SQLAlchemyStorage) -> None:
    parked = await sleeper_of(storage, "news")
    await storage.submit(message("news", target=(await run_of(storage)).instance_id))
    assert await storage.submit(resuming(parked, "news")) is NoMessage.NOTHING_THERE
    record = await storage.load_instance(parked.instance_id)
    assert record is not None
    assert (record.status, record.locked_by) == (Status.WAITING_FOR_MESSAGE, None)
    assert len(await storage.load_waits(parked.instance_id)) == 1
    await storage.submit(message("news"))
    (claimed,) = await storage.submit(claim_due())
    assert claimed.lease.token == parked.token + 1


async def test_one_that_somebody_else_has_resumed_takes_nothing(storage: SQLAlchemyStorage) -> None:
    parked = await sleeper_of(storage, "news")
    await storage.submit(message("news", 1))
    (claimed,) = await storage.submit(claim_due(owner=OTHER))
    assert await storage.submit(resuming(parked, "news")) is Verdict.LEASE_LOST
    assert await take_all(storage, claimed.lease, "news") == [1]


async def test_not_even_its_own_worker_may_have_resumed_it_meanwhile(storage: SQLAlchemyStorage) -> None:
    """The token is then the expected one, and the owner the same."""
    parked = await sleeper_of(storage, "news")
    await storage.submit(message("news", 1))
    (claimed,) = await storage.submit(claim_due(owner=parked.owner))
    assert claimed.lease.token == parked.token + 1
    for attempt in (Attempt.REPEATED, Attempt.UNCERTAIN):
        assert await apply_batch(storage, attempt, resuming(parked, "news")) == [Verdict.LEASE_LOST]
    assert await storage.submit(resuming(parked, "news")) is Verdict.LEASE_LOST
    assert await take_all(storage, claimed.lease, "news") == [1]


async def test_one_that_parked_again_is_not_resumed_as_it_was(storage: SQLAlchemyStorage) -> None:
    parked = await sleeper_of(storage, "news")
    held = await taken_over(storage, parked.instance_id)
    assert isinstance(await storage.submit(asleep(held, receiving("news"))), Parked)
    await storage.submit(message("news", 1))
    assert await storage.submit(resuming(parked, "news")) is Verdict.LEASE_LOST
    assert data_of(await storage.submit(resuming(held, "news"))) == 1


async def test_a_cancelled_one_is_not_resumed(storage: SQLAlchemyStorage) -> None:
    parked = await sleeper_of(storage, "news")
    await storage.submit(CancelRequested(OTHER, parked.instance_id, 60.0, "somebody", now()))
    await storage.submit(message("news", 1))
    assert await storage.submit(resuming(parked, "news")) is Verdict.LEASE_LOST
    asked = next_lease(parked, OTHER)
    await storage.submit(RunReleased(asked))
    assert await storage.submit(resuming(asked, "news")) is Verdict.LEASE_LOST


async def test_one_that_was_set_aside_keeps_its_delay(storage: SQLAlchemyStorage) -> None:
    held = await subscriber_of(storage, "news")
    await storage.submit(RunReleased(held, 600.0, "trouble"))
    await storage.submit(message("news", 1))
    assert await storage.submit(resuming(held, "news")) is Verdict.LEASE_LOST


async def test_of_two_that_compete_for_one_message_one_goes_on(storage: SQLAlchemyStorage) -> None:
    one, two = [await sleeper_of(storage, "jobs", COMPETING) for _ in range(2)]
    _, *answers = await apply_batch(
        storage, Attempt.FIRST, message("jobs", 1), resuming(one, "jobs"), resuming(two, "jobs")
    )
    assert [data_of(answer) for answer in answers if isinstance(answer, Taken)] == [1]
    assert NoMessage.NOTHING_THERE in answers
    assert await storage.submit(claim_due()) == ()


async def test_all_who_hear_a_message_go_on_and_others_are_due(storage: SQLAlchemyStorage) -> None:
    one, two, three = [await sleeper_of(storage, "news") for _ in range(3)]
    _, *answers = await apply_batch(
        storage, Attempt.FIRST, message("news", 1), resuming(one, "news"), resuming(two, "news")
    )
    assert [data_of(answer) for answer in answers] == [1, 1]
    (claimed,) = await storage.submit(claim_due())
    assert claimed.lease.instance_id == three.instance_id


async def test_a_second_one_in_the_same_batch_comes_too_late(storage: SQLAlchemyStorage) -> None:
    parked = await sleeper_of(storage, "news")
    await storage.submit(message("news", 1))
    answers = await asyncio.gather(*(storage.submit(resuming(parked, "news")) for _ in range(2)))
    assert [isinstance(answer, Taken) for answer in answers] == [True, False]
    assert answers[1] is Verdict.LEASE_LOST


async def test_a_commit_that_went_unanswered_is_recognised(storage: SQLAlchemyStorage) -> None:
    parked = await sleeper_of(storage, "news")
    await storage.submit(message("news", 1))
    write = resuming(parked, "news")
    (answer,) = await apply_batch(storage, Attempt.FIRST, write)
    again = write.unanswered(answer)
    assert await apply_batch(storage, Attempt.UNCERTAIN, again) == [answer]
    assert len(await storage.load_history(parked.instance_id)) == 1
    await storage.submit(RunReleased(next_lease(parked)))
    taken = await taken_over(storage, parked.instance_id)
    assert await apply_batch(storage, Attempt.UNCERTAIN, again) == [Verdict.LEASE_LOST]
    assert await storage.submit(step(taken)) is Verdict.ACCEPTED


async def test_of_an_attempt_that_was_undone_nothing_is_recognised(storage: SQLAlchemyStorage) -> None:
    parked = await sleeper_of(storage, "news")
    write = resuming(parked, "news").unanswered(Taken('{"data":0}'))
    assert await apply_batch(storage, Attempt.UNCERTAIN, write) == [NoMessage.NOTHING_THERE]
    await storage.submit(message("news", 1))
    (answer,) = await apply_batch(storage, Attempt.UNCERTAIN, write)
    assert data_of(answer) == 1


async def test_two_workers_resume_it_once(two_storages: TwoStorages) -> None:
    first, second = two_storages
    for number in range(10):
        channel = f"news-{number}"
        parked = await sleeper_of(first, channel)
        await first.submit(message(channel, 1))
        answers = await asyncio.gather(
            first.submit(resuming(parked, channel)), second.submit(resuming(parked, channel, owner=OTHER))
        )
        assert sorted(isinstance(answer, Taken) for answer in answers) == [False, True]


# -- a message that is there when a run is about to park ----------------------------------------------


@pytest.mark.parametrize("mode", [BROADCAST, COMPETING])
async def test_whoever_finds_a_message_while_parking_goes_on(
    storage: SQLAlchemyStorage, mode: ChannelMode
) -> None:
    held = await subscriber_of(storage, "news", mode)
    park = replace(asleep(held, receiving("news")), message=taking(held, "news", "receive:1"))
    _, answer = await apply_batch(storage, Attempt.FIRST, message("news", 1), park)
    assert data_of(answer) == 1
    assert await storage.submit(step(held)) is Verdict.ACCEPTED, "the lease is kept"
    assert await storage.load_waits(held.instance_id) == []
    assert await storage.submit(claim_due()) == ()
    again = replace(asleep(held, receiving("news", "receive:2")), message=taking(held, "news", "receive:2"))
    assert await storage.submit(again) == Parked(None)
    await storage.submit(message("news", 2))
    (claimed,) = await storage.submit(claim_due())
    assert await take_all(storage, claimed.lease, "news") == [2]


async def test_of_two_that_park_for_one_message_one_goes_on_and_the_other_parks(
    storage: SQLAlchemyStorage,
) -> None:
    both = [await subscriber_of(storage, "jobs", COMPETING) for _ in range(2)]
    parks = [
        replace(asleep(held, receiving("jobs")), message=taking(held, "jobs", "receive:1")) for held in both
    ]
    _, first, second = await apply_batch(storage, Attempt.FIRST, message("jobs", 1), *parks)
    assert data_of(first) == 1
    assert second == Parked(None)
    assert await storage.submit(claim_due()) == ()


@pytest.mark.parametrize("there", [True, False])
async def test_whoever_has_lost_its_lease_neither_parks_nor_takes(
    storage: SQLAlchemyStorage, *, there: bool
) -> None:
    held = await subscriber_of(storage, "news", seconds=-1.0)
    new = await taken_over(storage, held.instance_id)
    if there:
        await storage.submit(message("news", 1))
    park = replace(asleep(held, receiving("news")), message=taking(held, "news", "receive:1"))
    assert await storage.submit(park) is Verdict.LEASE_LOST
    assert await take_all(storage, new, "news") == ([1] if there else [])


async def test_a_message_instead_of_parking_is_recognised_when_the_commit_went_unanswered(
    storage: SQLAlchemyStorage,
) -> None:
    held = await subscriber_of(storage, "news")
    await storage.submit(message("news", 1))
    park = replace(asleep(held, receiving("news")), message=taking(held, "news", "receive:1"))
    (answer,) = await apply_batch(storage, Attempt.FIRST, park)
    (again,) = await apply_batch(storage, Attempt.UNCERTAIN, park.unanswered(answer))
    assert isinstance(again, AlreadyRecorded)
    assert again.record.activity_id == "receive:1"
    assert await storage.submit(claim_due()) == ()


async def test_a_message_that_came_after_an_unanswered_parking_makes_it_due(
    storage: SQLAlchemyStorage,
) -> None:
    held = await subscriber_of(storage, "news")
    park = replace(asleep(held, receiving("news")), message=taking(held, "news", "receive:1"))
    assert await apply_batch(storage, Attempt.FIRST, park) == [Parked(None)]
    await storage.submit(message("news", 1))
    assert await apply_batch(storage, Attempt.UNCERTAIN, park) == [Parked(0.0)]
    (claimed,) = await storage.submit(claim_due())
    assert await take_all(storage, claimed.lease, "news") == [1]


async def test_a_timer_beside_a_message_is_no_reason_to_look_twice(storage: SQLAlchemyStorage) -> None:
    held = await subscriber_of(storage, "news")
    await storage.submit(message("news", 1))
    assert await storage.submit(asleep(held, receiving("news"), wait("sleep:1", 500))) == Parked(0.0)
