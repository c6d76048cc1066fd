"""The keys of the outbox come and go with their open events."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from edda.storage.models import workflow_outbox_keys
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.types import OutboxStatus
from tests.support.outbox import add, ids, lease, mark


async def keys(storage: SQLAlchemyStorage) -> int:
    async with storage.engine.connect() as connection:
        return await connection.scalar(select(func.count()).select_from(workflow_outbox_keys)) or 0


async def test_a_key_without_open_events_leaves_no_row(storage: SQLAlchemyStorage) -> None:
    await add(storage, *(f"e-{number}" for number in range(3)))
    await add(storage, "x", "y", source="/s")
    first, *others = await lease(storage)
    assert await keys(storage) == 4
    for event in others:
        await mark(storage, event)
    await mark(storage, first, OutboxStatus.INVALID)
    assert await keys(storage) == 1
    (last,) = await lease(storage)
    await mark(storage, last, next_seconds=60)
    assert await keys(storage) == 0


async def test_what_is_due_longest_comes_first(storage: SQLAlchemyStorage) -> None:
    names = [f"e-{number}" for number in range(8)]
    await add(storage, *names)
    assert [ids(await lease(storage, 1)) for _ in names] == [[name] for name in names]


async def test_an_arrival_on_a_waiting_key_does_not_end_its_wait(storage: SQLAlchemyStorage) -> None:
    await add(storage, "a", source="/s")
    (event,) = await lease(storage)
    await mark(storage, event, OutboxStatus.PENDING, delay=60)
    await add(storage, "b", source="/s")
    assert await storage.seconds_until_outbox_due() == 0
    assert await lease(storage) == ()
    assert await storage.seconds_until_outbox_due() == pytest.approx(60, abs=5)


async def test_a_relayer_looks_again_when_the_first_lease_ends(storage: SQLAlchemyStorage) -> None:
    await add(storage, "a", "b")
    await lease(storage, 1, seconds=100)
    await lease(storage, 1, seconds=200)
    assert await storage.seconds_until_outbox_due() == pytest.approx(100, abs=5)
