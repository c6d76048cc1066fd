from __future__ import annotations

import asyncio

from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.writes import EventsAccepted, InboxEvent
from tests.support.writes import new_id, unleased


def event(key: str, **fields: str) -> InboxEvent:
    usual = {"owner_service": "shop", "source": "/s", "event_id": "1", "event_type": "t"}
    return InboxEvent(event_key=key * 64, **(usual | fields))


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


async def test_new_events_beside_a_known_one_start_their_instances(storage: SQLAlchemyStorage) -> None:
    known, new = new_id(), new_id()
    await storage.submit(EventsAccepted((event("a"),), (unleased(known),)))
    both = EventsAccepted((event("a"), event("b")), (unleased(known), unleased(new)))
    assert await storage.submit(both) == {new}
