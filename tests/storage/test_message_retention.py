from __future__ import annotations

import asyncio

import pytest

from edda.storage import message_retention
from edda.storage.dialects.base import Attempt
from edda.storage.message_writes import MessagesPurged, Swept
from edda.storage.models import CHAIN_INDEX, MESSAGES_PUBLISHED_INDEX
from edda.storage.records import Lease
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.writes import RunReleased
from edda.types import Status
from tests.storage.batches import apply_batch, apply_within
from tests.storage.plans import plan_of
from tests.support.eventually import PATIENCE
from tests.support.messages import (
    BROADCAST,
    COMPETING,
    age,
    asleep,
    channels_with_messages,
    message,
    receiving,
    subscriber_of,
    take_all,
    taking,
)
from tests.support.statements import counted
from tests.support.writes import finished, lease, leased, recurred, run_of

DAY = 86_400.0
WEEK = MessagesPurged(7 * DAY, 10)
TwoStorages = tuple[SQLAlchemyStorage, SQLAlchemyStorage]


async def _publish(storage: SQLAlchemyStorage, channel: str, *, days_ago: float, target: str = "") -> None:
    await storage.submit(message(channel, target=target or None))
    await age(storage, channel, days_ago * DAY)


async def test_only_what_is_older_than_the_limit_goes(storage: SQLAlchemyStorage) -> None:
    for channel, days_ago in (("old", 8.0), ("young", 6.0), ("new", 5 / DAY)):
        await _publish(storage, channel, days_ago=days_ago)
    assert await storage.submit(WEEK) == Swept(1, None)
    assert await channels_with_messages(storage) == ["new", "young"]


@pytest.mark.parametrize("mode", [BROADCAST, COMPETING])
async def test_a_message_goes_read_or_not_and_its_readers_go_on(
    storage: SQLAlchemyStorage, mode: object
) -> None:
    held = await subscriber_of(storage, "news", BROADCAST if mode is BROADCAST else COMPETING)
    await storage.submit(message("news", "read"))
    assert await take_all(storage, held, "news") == ["read"]
    await _publish(storage, "news", days_ago=8)
    await storage.submit(WEEK)
    assert await channels_with_messages(storage) == []
    await storage.submit(message("news", "next"))
    assert await take_all(storage, held, "news") == ["next"]


async def test_a_message_for_one_stays_until_it_is_taken_or_its_target_has_ended(
    storage: SQLAlchemyStorage,
) -> None:
    running, parked, aside, ended = [await run_of(storage) for _ in range(4)]
    await storage.submit(asleep(parked, receiving("nothing")))
    await storage.submit(RunReleased(aside, 60.0, "trouble"))
    for held in (running, parked, aside, ended):
        await _publish(storage, f"for {held.instance_id}", days_ago=8, target=held.instance_id)
    await _publish(storage, "for nobody", days_ago=8, target="never-was-there")
    await storage.submit(finished(ended))
    assert await storage.submit(WEEK) == Swept(2, None)
    expected = sorted(f"for {held.instance_id}" for held in (running, parked, aside))
    assert await channels_with_messages(storage) == expected
    assert await take_all(storage, running, f"for {running.instance_id}") == [1]


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
async def test_a_chain_is_live_until_its_last_instance_has_ended(
    storage: SQLAlchemyStorage, status: Status
) -> None:
    first = await run_of(storage)
    second = await _recurred(storage, first, first.instance_id)
    third = await _recurred(storage, second, first.instance_id)
    for number, held in enumerate((first, second, third)):
        await _publish(storage, f"news {number}", days_ago=8, target=held.instance_id)
    assert await storage.submit(WEEK) == Swept(0, None)
    await storage.submit(finished(third, status))
    assert await storage.submit(WEEK) == Swept(3, None)


async def _recurred(storage: SQLAlchemyStorage, held: Lease, chain_id: str) -> Lease:
    after = lease(owner=held.owner)
    new = leased(after, continued_from=held.instance_id, chain_id=chain_id)
    await storage.submit(recurred(held, new))
    return after


async def test_what_stays_does_not_keep_the_others_and_is_passed_over_once(
    storage: SQLAlchemyStorage,
) -> None:
    held = await run_of(storage)
    kept = [message("kept", target=held.instance_id) for _ in range(25)]
    await apply_batch(storage, Attempt.FIRST, *kept)
    await age(storage, "kept", 10 * DAY)
    for number in range(3):
        await apply_batch(storage, Attempt.FIRST, *(message(f"old {number}") for _ in range(4)))
        await age(storage, f"old {number}", (9 - number) * DAY)
    sweep, removed = MessagesPurged(6 * DAY, 5), []
    while True:
        swept = await storage.submit(sweep)
        removed.append(swept.removed)
        if swept.rest is None:
            break
        assert isinstance(swept.rest, MessagesPurged)
        assert swept.rest.since > sweep.since or len(removed) > 1
        sweep = swept.rest
    assert removed == [5, 5, 2]
    assert set(await channels_with_messages(storage)) == {"kept"}


async def test_messages_of_one_moment_may_be_more_than_go_at_once(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    await apply_batch(
        storage,
        Attempt.FIRST,
        *(message("news", target=held.instance_id if number % 2 else None) for number in range(20)),
    )
    await age(storage, "news", 8 * DAY)
    swept = await storage.submit(MessagesPurged(7 * DAY, 3))
    for removed in (3, 3, 1):
        assert swept.rest is not None
        swept = await storage.submit(swept.rest)
        assert swept.removed == removed
    assert swept.rest is None
    assert await take_all(storage, held, "news") == [1] * 10


async def test_messages_that_are_being_taken_are_passed_over(two_storages: TwoStorages) -> None:
    mine, other = two_storages
    if mine.dialect.name == "sqlite":
        pytest.skip("one writer at a time: a transaction that is open keeps all others out")
    held = await subscriber_of(mine, "jobs", COMPETING)
    for channel in ("jobs", "news"):
        await _publish(mine, channel, days_ago=8)
    transaction = mine.transaction()
    await apply_within(mine, transaction, taking(held, "jobs"))
    await asyncio.wait_for(other.submit(WEEK), PATIENCE)
    assert "jobs" in await channels_with_messages(mine)
    await transaction.rollback()
    await other.submit(WEEK)
    assert await channels_with_messages(mine) == []


async def test_two_workers_remove_each_message_once(two_storages: TwoStorages) -> None:
    await apply_batch(two_storages[0], Attempt.FIRST, *(message("news") for _ in range(50)))
    await age(two_storages[0], "news", 8 * DAY)
    sweeps = (each.submit(MessagesPurged(7 * DAY, 20)) for _ in range(5) for each in two_storages)
    assert sum(swept.removed for swept in await asyncio.gather(*sweeps)) == 50


async def test_a_sweep_costs_two_statements(storage: SQLAlchemyStorage) -> None:
    for count, statements in ((0, 1), (1, 2), (40, 2)):
        await apply_batch(storage, Attempt.FIRST, *(message("news") for _ in range(count)))
        await age(storage, "news", 8 * DAY)
        with counted() as seen:
            assert await storage.submit(MessagesPurged(7 * DAY, 100)) == Swept(count, None)
        assert (len(seen.texts), seen.commits) == (statements, 1)


@pytest.mark.parametrize("rows", [0, 300])
async def test_what_is_old_is_found_in_indexes(storage: SQLAlchemyStorage, rows: int) -> None:
    """Whatever the sizes of the tables when the plan is made, since plans are kept while tables grow."""
    runs = [lease() for _ in range(rows)]
    await apply_batch(storage, Attempt.FIRST, *(leased(held) for held in runs))
    await apply_batch(storage, Attempt.FIRST, *(message("news", target=held.instance_id) for held in runs))
    parameters = {"age": -1.0, "since": WEEK.since, "count": 10}
    plan = await plan_of(storage, message_retention._select_old(storage.dialect), parameters)
    assert MESSAGES_PUBLISHED_INDEX in plan
    assert CHAIN_INDEX in plan
    for bad in ("sort", "temp b-tree", "seq scan", "scan workflow_instances", "hash", "materialized"):
        assert bad not in plan, plan
    by_id = {"sqlite": "instance_id=?", "postgresql": "pk_workflow_instances", "mysql": "primary"}
    assert by_id[storage.dialect.name] in plan, plan
