from __future__ import annotations

import asyncio
import re

import pytest

from edda.storage import due
from edda.storage.models import DUE_INDEX
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from tests.storage.plans import plan_of
from tests.support.writes import WORKFLOW, finished, parked, run_of, unleased, wait

# What the plans say when rows are not taken in the order of an index.
SORTING = {"sort", "filesort", "b-tree"}


async def test_nothing_is_due_in_an_empty_database(storage: SQLAlchemyStorage) -> None:
    assert await storage.seconds_until_due([WORKFLOW]) is None


async def test_what_comes_first_decides(storage: SQLAlchemyStorage) -> None:
    await run_of(storage, seconds=500)
    held = await run_of(storage)
    await storage.submit(parked(held, wait("a:1", 100)))
    assert await storage.seconds_until_due([WORKFLOW]) == pytest.approx(100, abs=5)


async def test_what_is_overdue_is_due_now(storage: SQLAlchemyStorage) -> None:
    await run_of(storage, seconds=-100)
    assert await storage.seconds_until_due([WORKFLOW]) == 0


async def test_only_workflows_asked_for_count(storage: SQLAlchemyStorage) -> None:
    await storage.submit(unleased(workflow_name="foreign"))
    assert await storage.seconds_until_due([WORKFLOW]) is None
    assert await storage.seconds_until_due([]) is None
    assert await storage.seconds_until_due([WORKFLOW, "foreign"]) == 0


async def test_what_has_ended_is_never_due(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    await storage.submit(finished(held))
    assert await storage.seconds_until_due([WORKFLOW]) is None


@pytest.mark.parametrize("rows", [0, 500])
async def test_a_claim_reads_the_due_index_in_its_order(storage: SQLAlchemyStorage, rows: int) -> None:
    """Whatever the size of the table when the plan is made, since plans are kept while tables grow."""
    await _fill(storage, rows)
    query = due._select_due(storage.dialect)
    plan = await plan_of(storage, query, {"names": [WORKFLOW, "other"], "count": 10})
    assert DUE_INDEX in plan
    assert not SORTING & set(re.findall(r"[a-z-]+", plan))


async def test_asking_for_the_first_one_reads_the_due_index(storage: SQLAlchemyStorage) -> None:
    await _fill(storage, 500)
    plan = await plan_of(storage, due._select_first(storage.dialect), {"names": [WORKFLOW, "other"]})
    assert DUE_INDEX in plan
    assert not SORTING & set(re.findall(r"[a-z-]+", plan))


async def _fill(storage: SQLAlchemyStorage, rows: int) -> None:
    names = (WORKFLOW, "other", "foreign")
    await asyncio.gather(*(storage.submit(unleased(workflow_name=names[n % 3])) for n in range(rows)))
