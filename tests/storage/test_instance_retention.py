"""Instances that ended long ago go, each whole; what is live or young stays as it is."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from edda import clock
from edda.storage import instance_retention
from edda.storage.models import (
    STARTED_INDEX,
    workflow_history,
    workflow_history_archive,
    workflow_instances,
)
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.upkeep_writes import InstancesPurged, InstancesSwept
from edda.storage.writes import NotReopened, RollbackReopened
from edda.types import Status
from tests.storage.plans import plan_of
from tests.support.writes import finished, recurred, run_of, step, successor, unleased

DAY = 86_400.0
WEEK = InstancesPurged(7 * DAY, 100, 1000)
# What the plans say when rows are not taken in the order of an index.
UNORDERED = {"sort", "filesort", "b-tree"}


async def _ended(
    storage: SQLAlchemyStorage, *, days_ago: float, steps: int = 1, status: Status = Status.COMPLETED
) -> str:
    """An instance that was started and ended so many days ago."""
    held = await run_of(storage)
    for number in range(steps):
        await storage.submit(step(held, f"pay:{number}"))
    await storage.submit(finished(held, status))
    await _age(storage, held.instance_id, started=days_ago, ended=days_ago)
    return held.instance_id


async def _age(storage: SQLAlchemyStorage, instance_id: str, *, started: float, ended: float) -> None:
    table = workflow_instances.c
    now = clock.now()
    aged = (
        update(workflow_instances)
        .where(table.instance_id == instance_id)
        .values(started_at=now - timedelta(days=started), updated_at=now - timedelta(days=ended))
    )
    async with storage.gate, storage.engine.begin() as connection:
        await connection.execute(aged)


async def _left(storage: SQLAlchemyStorage) -> set[str]:
    async with storage.engine.connect() as connection:
        return set(await connection.scalars(select(workflow_instances.c.instance_id)))


async def _rows(storage: SQLAlchemyStorage) -> list[int]:
    async with storage.engine.connect() as connection:
        tables = (workflow_history, workflow_history_archive)
        return [
            int(await connection.scalar(select(func.count()).select_from(table)) or 0) for table in tables
        ]


async def test_what_ended_long_ago_goes_with_its_history_and_the_rest_stays(
    storage: SQLAlchemyStorage,
) -> None:
    for status in (Status.COMPLETED, Status.FAILED, Status.CANCELLED):
        await _ended(storage, days_ago=8, status=status)
    young = await _ended(storage, days_ago=6)
    assert await storage.submit(WEEK) == InstancesSwept(3, None)
    assert await _left(storage) == {young}
    assert await _rows(storage) == [1, 0]


async def test_the_age_counts_from_the_end(storage: SQLAlchemyStorage) -> None:
    instance_id = await _ended(storage, days_ago=8)
    await _age(storage, instance_id, started=400, ended=6)
    assert await storage.submit(WEEK) == InstancesSwept(0, None)
    await _age(storage, instance_id, started=400, ended=8)
    assert await storage.submit(WEEK) == InstancesSwept(1, None)


async def test_a_live_instance_stays_however_old_it_is(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    await storage.submit(step(held))
    waiting = unleased()
    await storage.submit(waiting)
    for instance_id in (held.instance_id, waiting.instance_id):
        await _age(storage, instance_id, started=400, ended=400)
    assert await storage.submit(WEEK) == InstancesSwept(0, None)
    assert len(await storage.load_history(held.instance_id)) == 1


async def test_an_instance_that_recurred_goes_with_its_archive(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    await storage.submit(step(held))
    new = successor(held)
    await storage.submit(recurred(held, new))
    await _age(storage, held.instance_id, started=8, ended=8)
    assert await storage.submit(WEEK) == InstancesSwept(1, None)
    assert await _left(storage) == {new.instance_id}
    assert await _rows(storage) == [0, 0]


async def test_a_page_goes_on_where_the_last_one_ended_and_passes_over_what_stays_once(
    storage: SQLAlchemyStorage,
) -> None:
    """Also where many were started at the same moment."""
    ids = [await _ended(storage, days_ago=8) for _ in range(5)]
    live = [await run_of(storage) for _ in range(4)]
    moment = clock.now() - timedelta(days=9)
    async with storage.gate, storage.engine.begin() as connection:
        await connection.execute(update(workflow_instances).values(started_at=moment))
    sweep: InstancesPurged | None = InstancesPurged(7 * DAY, 2, 1000)
    removed = []
    while sweep is not None:
        swept = await storage.submit(sweep)
        removed.append(swept.removed)
        sweep = swept.rest
    assert (sum(removed), len(removed)) == (len(ids), 5)
    assert await _left(storage) == {held.instance_id for held in live}


async def test_few_instances_with_long_histories_go_at_once_and_each_whole(
    storage: SQLAlchemyStorage,
) -> None:
    for _ in range(3):
        await _ended(storage, days_ago=8, steps=4)
    left = []
    sweep: InstancesPurged | None = InstancesPurged(7 * DAY, 100, 5)
    while sweep is not None:
        sweep = (await storage.submit(sweep)).rest
        left.append((len(await _left(storage)), await _rows(storage)))
    assert left == [(2, [8, 0]), (1, [4, 0]), (0, [0, 0])]


async def test_two_that_clean_at_once_and_one_that_reopens_do_not_meet(
    two_storages: tuple[SQLAlchemyStorage, SQLAlchemyStorage],
) -> None:
    one, two = two_storages
    ids = [await _ended(one, days_ago=8, status=Status.FAILED) for _ in range(20)]
    answers = await asyncio.gather(
        *(each.submit(WEEK) for each in (one, two)),
        *(one.submit(RollbackReopened("me", instance_id, 30)) for instance_id in ids[:5]),
    )
    assert await _left(one) == set()
    assert await _rows(one) == [0, 0]
    assert set(answers[2:]) <= {NotReopened.UNKNOWN, NotReopened.NOTHING_FAILED}


@pytest.mark.parametrize("rows", [0, 300])
async def test_pages_are_read_in_the_order_of_an_index(storage: SQLAlchemyStorage, rows: int) -> None:
    """Whatever the size of the table when the plan is made, since plans are kept while tables grow."""
    await asyncio.gather(*(storage.submit(unleased()) for _ in range(rows)))
    dialect = storage.dialect
    page = {"age": -1.0, "since": WEEK.since, "after_id": "", "count": 10}
    plan = await plan_of(storage, instance_retention._select_page(dialect), page)
    assert STARTED_INDEX in plan
    assert not UNORDERED & set(re.findall(r"[a-z-]+", plan))
    ended = {"age": -1.0, "ids": ["a", "b"]}
    plan = await plan_of(storage, instance_retention._select_ended(dialect), ended)
    assert re.search("(pk|sqlite_autoindex)_workflow_instances|primary", plan), plan
