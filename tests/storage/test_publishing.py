from __future__ import annotations

import asyncio

import pytest

from edda.ids import derived_key
from edda.storage.dialects.base import Attempt
from edda.storage.message_writes import NoMessage, Published
from edda.storage.news import News
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.writes import EventsAccepted, InboxEvent, Parked, Verdict
from tests.storage.batches import apply_batch
from tests.support.messages import (
    COMPETING,
    asleep,
    data_of,
    message,
    receiving,
    sleeper_of,
    subscriber_of,
    take_all,
    taking,
)
from tests.support.writes import WORKFLOW, claim_due, lease, run_of, step

TwoStorages = tuple[SQLAlchemyStorage, SQLAlchemyStorage]


async def test_every_subscriber_gets_each_message_once_and_in_order(storage: SQLAlchemyStorage) -> None:
    first, second = await subscriber_of(storage, "news"), await subscriber_of(storage, "news")
    for number in range(3):
        await storage.submit(message("news", number))
    assert await take_all(storage, first, "news") == [0, 1, 2]
    assert await take_all(storage, second, "news") == [0, 1, 2]


async def test_messages_of_one_batch_keep_their_order(storage: SQLAlchemyStorage) -> None:
    held, other = await subscriber_of(storage, "news"), await subscriber_of(storage, "other")
    channels = ("news", "other")
    await asyncio.gather(*(storage.submit(message(channels[n % 2], n)) for n in range(100)))
    assert await take_all(storage, held, "news") == list(range(0, 100, 2))
    assert await take_all(storage, other, "other") == list(range(1, 100, 2))


async def test_a_message_makes_those_due_who_wait_for_it(storage: SQLAlchemyStorage) -> None:
    sleeping = {(await sleeper_of(storage, "news")).instance_id for _ in range(3)}
    await sleeper_of(storage, "other")
    assert await storage.seconds_until_due([WORKFLOW]) is None
    await storage.submit(message("news"))
    assert {one.lease.instance_id for one in await storage.submit(claim_due())} == sleeping


async def test_a_message_wakes_one_of_those_who_compete_for_it(storage: SQLAlchemyStorage) -> None:
    for _ in range(4):
        await sleeper_of(storage, "jobs", COMPETING)
    await storage.submit(message("jobs"))
    assert len(await storage.submit(claim_due())) == 1
    await asyncio.gather(*(storage.submit(message("jobs")) for _ in range(2)))
    # The one that was woken before has not taken its message: the new ones count with that.
    assert len(await storage.submit(claim_due())) == 3


async def test_a_message_tells_its_channel_and_who_is_due(storage: SQLAlchemyStorage) -> None:
    heard: list[News] = []
    sleeper = await sleeper_of(storage, "news")
    storage.listen(heard.append)
    await storage.submit(message("news"))
    await storage.submit(message("nobody"))
    assert heard == [News(channels={"news"}, woken={sleeper.instance_id}), News(channels={"nobody"})]


async def test_those_whom_a_message_wakes_are_named_unless_they_are_many(storage: SQLAlchemyStorage) -> None:
    heard: list[News] = []
    storage.listen(heard.append)
    named = {(await sleeper_of(storage, "few")).instance_id for _ in range(3)}
    for _ in range(17):
        await sleeper_of(storage, "many")
    await storage.submit(message("few"))
    await storage.submit(message("many"))
    assert heard == [News(channels={"few"}, woken=named), News(due=True, channels={"many"})]


async def test_who_is_leased_is_not_moved_by_a_message(storage: SQLAlchemyStorage) -> None:
    held = await subscriber_of(storage, "news")
    await storage.submit(message("news"))
    assert await storage.submit(claim_due()) == ()
    assert data_of(await storage.submit(taking(held, "news"))) == 1


# -- messages for one alone --------------------------------------------------------------


async def test_a_targeted_message_is_for_its_target_alone(storage: SQLAlchemyStorage) -> None:
    target, other = await subscriber_of(storage, "news"), await subscriber_of(storage, "news")
    await storage.submit(message("news", "all"))
    await storage.submit(message("news", "one", target=target.instance_id))
    await storage.submit(message("news", "all again"))
    assert await take_all(storage, other, "news") == ["all", "all again"]
    assert await take_all(storage, target, "news") == ["all", "one", "all again"]


async def test_a_targeted_message_wakes_its_target_alone(storage: SQLAlchemyStorage) -> None:
    target, _ = await sleeper_of(storage, "jobs", COMPETING), await sleeper_of(storage, "jobs", COMPETING)
    assert await storage.submit(message("jobs", target=target.instance_id)) == Published(delivered=True)
    (claimed,) = await storage.submit(claim_due())
    assert claimed.lease.instance_id == target.instance_id
    assert await take_all(storage, claimed.lease, "jobs") == [1]


async def test_a_targeted_message_waits_for_its_target(storage: SQLAlchemyStorage) -> None:
    target, other = await run_of(storage), await subscriber_of(storage, "news")
    assert await storage.submit(message("news", target=target.instance_id)) == Published(delivered=False)
    assert await storage.submit(taking(other, "news")) is NoMessage.NOTHING_THERE
    assert await take_all(storage, target, "news") == [1], "also without a subscription"
    assert await storage.submit(taking(target, "news")) is NoMessage.NOT_SUBSCRIBED


async def test_only_a_wait_for_that_channel_counts_as_delivery(storage: SQLAlchemyStorage) -> None:
    target = await sleeper_of(storage, "other")
    assert await storage.submit(message("news", target=target.instance_id)) == Published(delivered=False)
    assert await storage.submit(message("news", target="unknown")) == Published(delivered=False)
    assert await storage.submit(claim_due()) == ()


# -- effects and keys --------------------------------------------------------------------


async def test_a_message_of_a_step_is_published_with_it_once(storage: SQLAlchemyStorage) -> None:
    held, receiver = await run_of(storage), await subscriber_of(storage, "news")
    publishing = step(held, effects=(message("news"),))
    lost = step(lease(held.instance_id, token=9), "b:1", effects=(message("news", "lost"),))
    assert await storage.submit(publishing) is Verdict.ACCEPTED
    assert await apply_batch(storage, Attempt.UNCERTAIN, publishing) == [Verdict.ACCEPTED]
    assert await storage.submit(lost) is Verdict.LEASE_LOST
    assert await take_all(storage, receiver, "news") == [1]


async def test_a_message_with_a_key_is_published_once(storage: SQLAlchemyStorage) -> None:
    receiver = await subscriber_of(storage, "news")
    keyed = message("news", key=derived_key("message", "1"))
    await storage.submit(keyed)
    for attempt in (Attempt.REPEATED, Attempt.UNCERTAIN):
        await apply_batch(storage, attempt, keyed, message("news", attempt.name))
    await asyncio.gather(storage.submit(keyed), storage.submit(keyed))
    assert await take_all(storage, receiver, "news") == [1, "REPEATED", "UNCERTAIN"]


async def test_a_transaction_of_the_user_publishes_with_its_commit(storage: SQLAlchemyStorage) -> None:
    receiver = await sleeper_of(storage, "news")
    kept, dropped = storage.transaction(), storage.transaction()
    await kept.commit([message("news", "kept")])
    await dropped.session.connection()
    await dropped.rollback()
    (claimed,) = await storage.submit(claim_due())
    assert claimed.lease.instance_id == receiver.instance_id
    assert await take_all(storage, claimed.lease, "news") == ["kept"]


# -- events ------------------------------------------------------------------------------


def event(service: str, number: str = "1") -> EventsAccepted:
    """An event that comes with a message."""
    keys = derived_key(service, "/orders", number), derived_key("event", "/orders", number)
    accepted = InboxEvent(
        keys[0],
        service,
        "/orders",
        number,
        "placed",
        publication_key=keys[1],
        message=message("placed", service),
    )
    return EventsAccepted((accepted,), ())


async def test_an_event_is_published_once_for_all_services(storage: SQLAlchemyStorage) -> None:
    receiver = await subscriber_of(storage, "placed")
    for service in ("shop", "stock", "shop", "stock"):
        await storage.submit(event(service))
    await asyncio.gather(*(storage.submit(event(service, "2")) for service in ("stock", "shop", "stock")))
    assert await take_all(storage, receiver, "placed") == ["shop", "stock"]


async def test_an_event_whose_answer_was_lost_is_published_once(storage: SQLAlchemyStorage) -> None:
    receiver = await subscriber_of(storage, "placed")
    for attempt in (Attempt.FIRST, Attempt.UNCERTAIN, Attempt.REPEATED):
        await apply_batch(storage, attempt, event("shop"))
    assert await take_all(storage, receiver, "placed") == ["shop"]


async def test_an_event_wakes_who_waits_for_its_type(storage: SQLAlchemyStorage) -> None:
    receiver = await sleeper_of(storage, "placed")
    await storage.submit(event("shop"))
    (claimed,) = await storage.submit(claim_due())
    assert claimed.lease.instance_id == receiver.instance_id
    assert await storage.submit(asleep(claimed.lease, receiving("placed"))) == Parked(0.0)


async def test_services_that_get_one_event_publish_it_once(two_storages: TwoStorages) -> None:
    receiver = await subscriber_of(two_storages[0], "placed")
    for number in range(10):
        await asyncio.gather(
            *(
                storage.submit(event(service, str(number)))
                for storage, service in zip(two_storages, ("shop", "stock"), strict=True)
            )
        )
    assert len(await take_all(two_storages[0], receiver, "placed")) == 10


@pytest.mark.parametrize("data", [None, [1, "é"], {"a": {"b": 2.5}}, "x" * 100_000])
async def test_what_is_published_is_what_is_taken(storage: SQLAlchemyStorage, data: object) -> None:
    held = await subscriber_of(storage, "news")
    await storage.submit(message("news", data))
    assert data_of(await storage.submit(taking(held, "news"))) == data
