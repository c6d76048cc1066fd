"""What a run writes finds its rows by their keys, however many instances there are."""

from __future__ import annotations

import asyncio

from sqlalchemy import Connection, select

from edda.storage import batch
from edda.storage.dialects.base import Attempt
from edda.storage.models import workflow_instances
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.upkeep_writes import LeadershipClaimed
from edda.storage.writes import LeasesRenewed, RunReleased
from tests.storage.plans import plans_of
from tests.support.questions import WHOLE
from tests.support.writes import claim, finished, parked, run_of, step, unleased, wait


async def test_no_write_of_a_run_reads_a_table_as_a_whole(storage: SQLAlchemyStorage) -> None:
    await asyncio.gather(*(storage.submit(unleased()) for _ in range(300)))
    runs = [await run_of(storage) for _ in range(6)]
    for run in runs:
        await storage.submit(step(run))
        await storage.submit(parked(run, wait("sleep:1", 60)))
    held = [await run_of(storage) for _ in range(5)]
    free = unleased()
    await storage.submit(free)
    writes = [
        step(held[0], "pay:2"),
        parked(held[1], wait("sleep:2", 60)),
        finished(held[2]),
        RunReleased(held[3]),
        LeasesRenewed((held[4],)),
        claim(runs[0].instance_id),
        LeadershipClaimed("me", 60),
    ]

    def apply(connection: Connection) -> None:
        batch.apply(connection, storage.dialect, writes, Attempt.FIRST)

    plans = await plans_of(storage, apply)
    assert len(plans) >= len(writes)
    readings = [plan for plan in plans if WHOLE.search(plan)]
    assert not readings, "\n\n".join(readings)


async def test_a_table_that_is_read_as_a_whole_is_seen(storage: SQLAlchemyStorage) -> None:
    """Else the test above would say nothing."""
    await asyncio.gather(*(storage.submit(unleased()) for _ in range(300)))
    query = select(workflow_instances.c.instance_id).where(workflow_instances.c.last_error == "x")
    [plan] = await plans_of(storage, lambda connection: connection.execute(query).close())
    assert WHOLE.search(plan), plan
