from __future__ import annotations

import asyncio

from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.types import EventType
from tests.storage.test_instances import NASTY
from tests.support.writes import run_of, step


async def test_steps_are_in_the_order_of_recording(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    names = ["b:1", "a:1", "c:1", "a:2"]
    for name in names:
        await storage.submit(step(held, name))
    assert [record.activity_id for record in await storage.load_history(held.instance_id)] == names


async def test_steps_of_one_batch_are_in_the_order_of_submission(storage: SQLAlchemyStorage) -> None:
    runs = [await run_of(storage) for _ in range(3)]
    names = [f"step:{n}" for n in range(20)]
    await asyncio.gather(*(storage.submit(step(held, name)) for name in reversed(names) for held in runs))
    for held in runs:
        recorded = [record.activity_id for record in await storage.load_history(held.instance_id)]
        assert recorded == names[::-1]


async def test_a_step_comes_back_as_it_was_recorded(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    await storage.submit(step(held, "é:1", NASTY))
    (record,) = await storage.load_history(held.instance_id)
    assert record.instance_id == held.instance_id
    assert (record.activity_id, record.event_type) == ("é:1", EventType.ACTIVITY_COMPLETED)
    assert record.event_data == NASTY


async def test_the_history_of_an_unknown_instance_is_empty(storage: SQLAlchemyStorage) -> None:
    assert await storage.load_history("unknown") == []
