from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from edda.storage import inbox
from edda.storage.models import RECEIVED_INDEX
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.writes import EventsAccepted, InboxEvent, InboxPurged
from tests.storage.plans import plan_of
from tests.support.messages import message, subscriber_of, take_all
from tests.support.writes import new_id, unleased


def event(key: str, **fields: Any) -> InboxEvent:
    usual: dict[str, Any] = {"owner_service": "shop", "source": "/s", "event_id": "1", "event_type": "t"}
    return InboxEvent(event_key=key * 64, **(usual | fields))


def events(count: int) -> tuple[InboxEvent, ...]:
    return tuple(InboxEvent(f"{number:064}", "shop", "/s", "1", "t") for number in range(count))


async def test_events_are_told_apart_by_their_key_alone(storage: SQLAlchemyStorage) -> None:
    first, second, third = new_id(), new_id(), new_id()
    assert await storage.submit(EventsAccepted((event("a"),), (unleased(first),))) == {first}
    assert await storage.submit(EventsAccepted((event("b"),), (unleased(second),))) == {second}
    again = event("a", source="/other", event_id="2")
    assert await storage.submit(EventsAccepted((again,), (unleased(third),))) == frozenset()


async def test_sources_and_ids_may_be_long(storage: SQLAlchemyStorage) -> None:
    long = event("a", source="https://example.com/" + "é" * 5000, event_id="x" * 5000, event_type="t" * 5000)
    new = unleased()
    assert await storage.submit(EventsAccepted((long,), (new,))) == {new.instance_id}


async def test_many_events_are_stored_in_one_batch(storage: SQLAlchemyStorage) -> None:
    new = [unleased() for _ in range(10)]
    writes = [EventsAccepted((event(f"{n}"),), (instance,)) for n, instance in enumerate(new)]
    answers = await asyncio.gather(*(storage.submit(write) for write in writes))
    assert answers == [{instance.instance_id} for instance in new]


async def test_of_one_event_that_comes_twice_in_a_batch_the_first_counts(storage: SQLAlchemyStorage) -> None:
    held = await subscriber_of(storage, "news")
    twice = [event("a", message=message("news", text)) for text in ("first", "second")]
    await asyncio.gather(*(storage.submit(EventsAccepted((each,), ())) for each in twice))
    assert await take_all(storage, held, "news") == ["first"]


async def test_new_events_beside_a_known_one_start_their_instances(storage: SQLAlchemyStorage) -> None:
    known, new = new_id(), new_id()
    await storage.submit(EventsAccepted((event("a"),), (unleased(known),)))
    both = EventsAccepted((event("a"), event("b")), (unleased(known), unleased(new)))
    assert await storage.submit(both) == {new}


async def test_the_oldest_are_forgotten_first_and_never_more_than_asked_for(
    storage: SQLAlchemyStorage,
) -> None:
    for key in "abc":
        await storage.submit(EventsAccepted((event(key),), ()))
    assert await storage.submit(InboxPurged(3600, 10)) == 0
    in_the_future = -3600.0
    assert await storage.submit(InboxPurged(in_the_future, 2)) == 2
    new = unleased()
    assert await storage.submit(EventsAccepted((event("c"),), (unleased(),))) == frozenset()
    assert await storage.submit(EventsAccepted((event("a"),), (new,))) == {new.instance_id}
    assert await storage.submit(InboxPurged(in_the_future, 10)) == 2
    assert await storage.submit(InboxPurged(in_the_future, 10)) == 0


@pytest.mark.parametrize("rows", [0, 300])
async def test_the_oldest_are_found_in_an_index(storage: SQLAlchemyStorage, rows: int) -> None:
    """Whatever the size of the table when the plan is made, since plans are kept while tables grow."""
    await storage.submit(EventsAccepted(events(rows), ()))
    plan = await plan_of(storage, inbox._select_old(storage.dialect), {"age": -3600.0, "count": 10})
    assert RECEIVED_INDEX in plan
    assert not {"sort", "filesort", "b-tree"} & set(re.findall(r"[a-z-]+", plan))


async def test_two_workers_that_forget_pass_over_each_others_rows(
    two_storages: tuple[SQLAlchemyStorage, SQLAlchemyStorage],
) -> None:
    one, two = two_storages
    await one.submit(EventsAccepted(events(50), ()))
    counts = await asyncio.gather(
        *(each.submit(InboxPurged(-60.0, 20)) for _ in range(5) for each in (one, two))
    )
    assert sum(counts) == 50
