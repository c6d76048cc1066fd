"""The rows of the outbox."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from edda.storage import outbox
from edda.storage.models import workflow_outbox
from edda.storage.news import News
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.writes import StepRecorded
from edda.storage.writes_outbox import OutboxEventAdded, OutboxPurged
from edda.types import EventType, OutboxStatus
from tests.support.outbox import add, ids, lease, mark, new_event
from tests.support.writes import run_of, taken_over


async def test_events_are_numbered_in_the_order_of_the_batch(storage: SQLAlchemyStorage) -> None:
    names = [f"e-{number}" for number in range(50)]
    writes = [OutboxEventAdded(new_event(name, source="/s")) for name in names]
    await asyncio.gather(*(storage.submit(write) for write in writes))
    assert [row["event_id"] for row in await storage.get_pending_outbox_events(50)] == names


async def test_an_event_exists_only_together_with_its_step(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage, seconds=-1)
    effects = (OutboxEventAdded(new_event("lost")),)
    step = StepRecorded(held, "s:1", EventType.OUTBOX_EVENT_ADDED, "{}", effects=effects)
    taken = await taken_over(storage, held.instance_id)
    await storage.submit(step)
    assert await storage.get_pending_outbox_events() == []
    for event_id in ("first", "second"):
        effects = (OutboxEventAdded(new_event(event_id)),)
        await storage.submit(StepRecorded(taken, "s:1", EventType.OUTBOX_EVENT_ADDED, "{}", effects=effects))
    assert [row["event_id"] for row in await storage.get_pending_outbox_events()] == ["first"]


def test_events_have_a_key_in_common_that_share_source_and_subject() -> None:
    keys = {
        outbox.ordering_key(source, subject)
        for source, subject in (("/a", None), ("/a", "1"), ("/a", "2"), ("/b", None), ("/a1", None))
    }
    assert len(keys) == 5
    assert outbox.ordering_key("/a", "1") == outbox.ordering_key("/a", "1")


async def test_pending_events_are_shown_in_order_and_looking_changes_nothing(
    storage: SQLAlchemyStorage,
) -> None:
    await add(storage, "a", "b", "c", "d")
    first, second = await lease(storage, 2)
    await mark(storage, first)
    await mark(storage, second, OutboxStatus.PENDING, error="HTTP 500", failures=3, retry_count=2)
    for _ in range(2):
        shown = await storage.get_pending_outbox_events(2)
        assert [row["event_id"] for row in shown] == ["b", "c"]
    assert (shown[0]["retry_count"], shown[0]["last_error"]) == (2, "HTTP 500")
    assert ids(await lease(storage)) == ["b", "c", "d"]
    assert await storage.get_pending_outbox_events() == []


async def test_what_was_published_long_ago_is_removed_and_nothing_else(storage: SQLAlchemyStorage) -> None:
    await add(storage, "old 1", "old 2", "new", "failed", "pending")
    for event in await lease(storage, 4):
        status = OutboxStatus.FAILED if event.event_id == "failed" else OutboxStatus.PUBLISHED
        await mark(storage, event, status)
    await _age(storage, 3600, "old 1", "old 2", "failed", "pending")
    assert await storage.submit(OutboxPurged(older_than=1800, limit=1)) == 1
    assert await storage.submit(OutboxPurged(older_than=1800, limit=10)) == 1
    assert await storage.submit(OutboxPurged(older_than=1800, limit=10)) == 0
    async with storage.engine.connect() as connection:
        left = list(await connection.scalars(select(workflow_outbox.c.event_id).order_by("id")))
        assert left == ["new", "failed", "pending"]
        assert await connection.scalar(select(func.count()).select_from(workflow_outbox)) == 3


async def _age(storage: SQLAlchemyStorage, seconds: float, *event_ids: str) -> None:
    table = workflow_outbox.c
    async with storage.engine.connect() as connection:
        rows = (await connection.execute(select(table.event_id, table.created_at, table.published_at))).all()
    transaction = storage.transaction()
    for row in rows:
        if row.event_id in event_ids:
            moments = {
                name: None if moment is None else moment - timedelta(seconds=seconds)
                for name, moment in (("created_at", row.created_at), ("published_at", row.published_at))
            }
            statement = update(workflow_outbox).where(table.event_id == row.event_id).values(**moments)
            await transaction.session.execute(statement)
    await transaction.commit([])


@pytest.mark.parametrize("status", ["failed", "invalid", "expired"])
async def test_an_event_that_was_given_up_is_listed_and_can_be_sent_after_all(
    storage: SQLAlchemyStorage, status: str
) -> None:
    await add(storage, "a", "b", source="/s", subject="x")
    (event,) = await lease(storage)
    await mark(storage, event, OutboxStatus(status), error="e", failures=5, retry_count=3)
    [shown] = await storage.get_outbox_events(status)
    assert (shown["event_id"], shown["retry_count"], shown["last_error"]) == ("a", 3, "e")
    assert await storage.requeue_outbox_event("a")
    assert not await storage.requeue_outbox_event("a")
    assert await storage.get_outbox_events(status) == []
    (again,) = await lease(storage)
    assert (again.event_id, again.failures, again.retry_count) == ("a", 0, 0)
    assert again.created_at == event.created_at
    following = await mark(storage, again, next_seconds=60)
    assert following is not None
    assert following.event_id == "b"


async def test_only_what_was_given_up_is_sent_again(storage: SQLAlchemyStorage) -> None:
    await add(storage, "published", "pending")
    (event,) = await lease(storage, 1)
    await mark(storage, event)
    for event_id in ("published", "pending", "unknown"):
        assert not await storage.requeue_outbox_event(event_id)
    with pytest.raises(ValueError, match="lost"):
        await storage.get_outbox_events("lost")


async def test_an_event_to_be_sent_after_all_is_news(storage: SQLAlchemyStorage) -> None:
    await add(storage, "a")
    (event,) = await lease(storage)
    await mark(storage, event, OutboxStatus.FAILED)
    heard: list[News] = []
    storage.listen(heard.append)
    await storage.requeue_outbox_event("unknown")
    assert heard == []
    await storage.requeue_outbox_event("a")
    assert heard == [News(outbox=True)]
