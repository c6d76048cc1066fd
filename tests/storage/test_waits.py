from __future__ import annotations

from datetime import timedelta

import pytest

from edda import clock
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.writes import NewWait, WaitsRegistered
from edda.types import WaitKind
from tests.support.writes import run_of, wait


async def test_waits_say_how_long_they_last_by_the_clock_of_the_database(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    instant = clock.now() + timedelta(hours=1)
    waits = (wait("never:1"), wait("at:1", at=instant), wait("in:1", 60.5))
    await storage.submit(WaitsRegistered(held, waits))
    soon, later, never = await storage.load_waits(held.instance_id)
    assert (soon.activity_id, later.activity_id, never.activity_id) == ("in:1", "at:1", "never:1")
    assert soon.remaining == pytest.approx(60.5, abs=5)
    assert later.remaining == pytest.approx(3600, abs=5)
    assert later.due_at == instant
    assert (never.remaining, never.due_at) == (None, None)


async def test_the_first_registration_of_a_wait_stands(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    await storage.submit(WaitsRegistered(held, (wait("a:1", 100, data="first"),)))
    (before,) = await storage.load_waits(held.instance_id)
    await storage.submit(WaitsRegistered(held, (wait("a:1", 5, data="second"),)))
    (after,) = await storage.load_waits(held.instance_id)
    assert (after.due_at, after.data) == (before.due_at, "first")


async def test_a_wait_can_replace_the_one_before(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    await storage.submit(WaitsRegistered(held, (wait("a:1", 100, data="first"), wait("b:1", 7))))
    second = NewWait("a:1", WaitKind.RETRY, 500, data="second", replace=True)
    await storage.submit(WaitsRegistered(held, (second,)))
    records = {record.activity_id: record for record in await storage.load_waits(held.instance_id)}
    assert (records["a:1"].kind, records["a:1"].data) == (WaitKind.RETRY, "second")
    assert records["a:1"].remaining == pytest.approx(500, abs=5)
    assert records["b:1"].remaining == pytest.approx(7, abs=5)


async def test_a_wait_can_be_longer_than_any_calendar(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    await storage.submit(WaitsRegistered(held, (wait("a:1", 1e300),)))
    (record,) = await storage.load_waits(held.instance_id)
    assert record.due_at is not None
    assert record.due_at.year > 3000
