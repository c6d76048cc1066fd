"""Leasing and marking: one relayer at a time for each key, in the order of recording."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from sqlalchemy import insert, text
from sqlalchemy.sql.base import Executable

from edda.storage import outbox, outbox_keys
from edda.storage.dialects.base import Attempt
from edda.storage.models import (
    ARRIVED_INDEX,
    KEYS_DUE_INDEX,
    OPEN_INDEX,
    PUBLISHED_INDEX,
    STATUS_INDEX,
    workflow_outbox,
)
from edda.storage.records import LeasedEvent
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.writes_outbox import BrokerReturned, OutboxEventAdded, OutboxLeased
from edda.types import DataForm, OutboxStatus
from tests.storage.plans import plan_of
from tests.support.eventually import PATIENCE
from tests.support.outbox import add, ids, lease, mark, new_event

Two = tuple[SQLAlchemyStorage, SQLAlchemyStorage]


async def test_an_empty_outbox_has_nothing_to_lease(storage: SQLAlchemyStorage) -> None:
    assert await storage.seconds_until_outbox_due() is None
    assert await lease(storage) == ()


async def test_a_leased_event_comes_with_all_that_is_to_be_sent(storage: SQLAlchemyStorage) -> None:
    event = new_event(
        "e-1",
        event_type="paid",
        source="/s",
        subject="o-1",
        extensions='{"tenant":"é"}',
        content_type="image/png",
        data="AAE=",
        form=DataForm.BASE64,
    )
    await storage.submit(OutboxEventAdded(event))
    assert await storage.seconds_until_outbox_due() == 0
    (leased,) = await lease(storage, token="t")
    assert (leased.event_id, leased.event_type, leased.source, leased.subject) == ("e-1", "paid", "/s", "o-1")
    assert (leased.extensions, leased.content_type) == ('{"tenant":"é"}', "image/png")
    assert (leased.data, leased.form, leased.token) == ("AAE=", DataForm.BASE64, "t")
    assert (leased.failures, leased.retry_count, leased.last_error) == (0, 0, None)
    assert 0 <= leased.age < 600
    assert leased.created_at.tzinfo is not None


async def test_different_keys_are_leased_at_once_up_to_the_limit(storage: SQLAlchemyStorage) -> None:
    await add(storage, "a", "b", "c")
    assert ids(await lease(storage, 2)) == ["a", "b"]
    assert ids(await lease(storage, 2)) == ["c"]
    assert await lease(storage, 2) == ()


async def test_the_events_of_one_key_come_one_after_the_other(storage: SQLAlchemyStorage) -> None:
    await add(storage, "a", "b", "c", source="/s", subject="x")
    await add(storage, "other", source="/s", subject="y")
    await add(storage, "none", source="/s")
    first, other, none = await lease(storage)
    assert ids([first, other, none]) == ["a", "other", "none"]
    assert await lease(storage) == ()
    second = await mark(storage, first, next_seconds=60)
    assert second is not None
    assert second.event_id == "b"
    assert await lease(storage) == ()
    assert await mark(storage, second) is None
    assert ids(await lease(storage)) == ["c"]


async def test_an_event_that_waits_holds_back_its_key_alone(storage: SQLAlchemyStorage) -> None:
    await add(storage, "a", "b", source="/s")
    (first,) = await lease(storage)
    pending = {"error": "HTTP 503", "failures": 1, "retry_count": 0}
    assert await mark(storage, first, OutboxStatus.PENDING, delay=60, next_seconds=60, **pending) is None
    await add(storage, "other")
    assert ids(await lease(storage)) == ["other"]
    assert await storage.seconds_until_outbox_due() == pytest.approx(60, abs=5)


async def test_an_event_whose_wait_is_over_comes_again_with_its_counts(storage: SQLAlchemyStorage) -> None:
    await add(storage, "a", "b", source="/s")
    (first,) = await lease(storage)
    await mark(storage, first, OutboxStatus.PENDING, error="HTTP 500", failures=4, retry_count=2)
    (again,) = await lease(storage)
    assert (again.event_id, again.failures, again.retry_count) == ("a", 4, 2)
    assert again.last_error == "HTTP 500"


@pytest.mark.parametrize("status", ["published", "failed", "invalid", "expired"])
async def test_an_event_that_has_ended_is_never_leased_again(storage: SQLAlchemyStorage, status: str) -> None:
    await add(storage, "a", "b", source="/s")
    (first,) = await lease(storage)
    await mark(storage, first, OutboxStatus(status), error="e")
    (second,) = await lease(storage)
    assert second.event_id == "b"
    assert await mark(storage, second, OutboxStatus(status)) is None
    assert await lease(storage) == ()
    assert await storage.seconds_until_outbox_due() is None
    await add(storage, "c", source="/s")
    assert ids(await lease(storage)) == ["c"]


async def test_the_events_of_a_dead_relayer_are_leased_again_in_order(storage: SQLAlchemyStorage) -> None:
    await add(storage, "a", "b", source="/s")
    (dead,) = await lease(storage, seconds=-1)
    (taken,) = await lease(storage)
    assert (dead.event_id, taken.event_id) == ("a", "a")


async def test_a_mark_under_an_old_lease_changes_nothing(storage: SQLAlchemyStorage) -> None:
    await add(storage, "a", "b", source="/s")
    (dead,) = await lease(storage, seconds=-1)
    (taken,) = await lease(storage)
    assert await mark(storage, dead, OutboxStatus.INVALID, next_seconds=60) is None
    following = await mark(storage, taken, next_seconds=60)
    assert following is not None
    assert following.event_id == "b"
    assert await mark(storage, dead, OutboxStatus.PENDING) is None
    assert await lease(storage) == ()


async def test_a_lease_whose_answer_was_lost_is_given_again(storage: SQLAlchemyStorage) -> None:
    await add(storage, "a", "b")
    write = OutboxLeased("t", 1, 60)
    assert ids(await storage.submit(write)) == ["a"]
    assert storage._writer is not None
    applied = await storage._writer._committer.commit(
        lambda connection: storage._apply(connection, [write], Attempt.UNCERTAIN)
    )
    assert set(ids(applied.answers[0])) == {"a", "b"}


async def test_a_mark_whose_answer_was_lost_finds_the_next_event(storage: SQLAlchemyStorage) -> None:
    await add(storage, "a", "b", "c", source="/s")
    (first,) = await lease(storage)
    for _ in range(2):
        following = await mark(storage, first, next_seconds=60)
        assert following is not None
        assert following.event_id == "b"
    assert [row["status"] for row in await storage.get_pending_outbox_events()] == ["pending"]


async def test_when_the_broker_is_back_the_waits_for_it_are_over(storage: SQLAlchemyStorage) -> None:
    await add(storage, "for broker", "for itself", "being sent")
    for_broker, for_itself, _ = await lease(storage)
    await mark(storage, for_broker, OutboxStatus.PENDING, delay=60, for_broker=True)
    await mark(storage, for_itself, OutboxStatus.PENDING, delay=60)
    await storage.submit(BrokerReturned())
    assert ids(await lease(storage)) == ["for broker"]


async def test_two_relayers_never_lease_the_same_event(two_storages: Two) -> None:
    first, second = two_storages
    for number in range(30):
        await add(first, f"e-{number}", source=f"/{number % 15}")
    got: list[str] = []

    async def drain(storage: SQLAlchemyStorage) -> None:
        while events := await lease(storage, 3):
            for event in events:
                following: LeasedEvent | None = event
                while following is not None:
                    got.append(following.event_id)
                    following = await mark(storage, following, next_seconds=60)

    await asyncio.gather(drain(first), drain(second))
    await asyncio.gather(drain(first), drain(second))
    assert sorted(got) == sorted(f"e-{number}" for number in range(30))
    for key in range(15):
        assert got.index(f"e-{key}") < got.index(f"e-{key + 15}")


async def test_keys_that_end_while_events_are_added_lose_none(two_storages: Two) -> None:
    first, second = two_storages
    sent: list[str] = []

    async def relay(storage: SQLAlchemyStorage) -> None:
        while len(sent) < 60:
            for event in await lease(storage, 2):
                following: LeasedEvent | None = event
                while following is not None:
                    sent.append(following.event_id)
                    following = await mark(storage, following, next_seconds=60)

    async def produce(storage: SQLAlchemyStorage, name: str) -> None:
        await add(storage, *(f"{name}{number:02}" for number in range(30)), source="/s")

    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(relay(first), relay(second), produce(first, "x"), produce(second, "y"))
    assert len(set(sent)) == len(sent) == 60
    for name in "xy":
        assert [each for each in sent if each[0] == name] == [f"{name}{number:02}" for number in range(30)]


# -- plans -------------------------------------------------------------------------------


async def _fill(storage: SQLAlchemyStorage, rows: int) -> None:
    """Mostly events that have ended, as the outbox of a long-lived system has them."""
    await add(storage, *(f"open-{number}" for number in range(3)), source="/s")
    await lease(storage)
    await add(storage, "arrived")
    ended = {
        "event_type": "t",
        "event_source": "/s",
        "content_type": "c",
        "event_data": "{}",
        "data_form": "json",
    }
    transaction = storage.transaction()
    connection = await transaction.session.connection()
    await connection.execute(
        insert(workflow_outbox).values(created_at=storage.dialect.now(), published_at=storage.dialect.now()),
        [{**ended, "event_id": f"e-{n}", "status": ("published", "failed")[n % 2]} for n in range(rows)],
    )
    await transaction.commit([])


async def _check(
    storage: SQLAlchemyStorage, statement: Executable, parameters: dict[str, Any], index: str
) -> None:
    plan = await plan_of(storage, statement, parameters)
    words = set(re.findall(r"[a-z_0-9-]+", plan))
    assert index in words, plan
    assert not {"filesort", "b-tree", "seq"} & words, plan


@pytest.mark.parametrize("rows", [1, 1000])
async def test_every_search_of_a_relayer_goes_through_an_index(storage: SQLAlchemyStorage, rows: int) -> None:
    await _fill(storage, rows)
    dialect = storage.dialect
    key = outbox.ordering_key("/s", None)
    await _check(storage, outbox._select_arrived(dialect), {"count": 10}, ARRIVED_INDEX)
    await _check(storage, outbox._select_firsts(dialect), {"ordering_keys": [key]}, OPEN_INDEX)
    await _check(storage, outbox_keys._select_due(dialect), {"count": 10}, KEYS_DUE_INDEX)
    await _check(storage, outbox_keys._select_first(dialect), {}, KEYS_DUE_INDEX)
    await _check(storage, outbox_keys._select_first(dialect), {}, ARRIVED_INDEX)
    await _check(storage, outbox._select_given_up(dialect), {"event": "e"}, STATUS_INDEX)
    await _check(storage, outbox._select_old(dialect), {"age": -60.0, "count": 10}, PUBLISHED_INDEX)


async def test_what_is_pending_is_shown_through_an_index(storage: SQLAlchemyStorage) -> None:
    """Beside many events that have ended, as the planner has to know."""
    await _fill(storage, 1000)
    if storage.dialect.name == "postgresql":
        async with storage.engine.begin() as connection:
            await connection.execute(text("ANALYZE workflow_outbox"))
    query = outbox._select_by_status(storage.dialect)
    await _check(storage, query, {"status": "pending", "count": 100}, STATUS_INDEX)
