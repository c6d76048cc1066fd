"""Several workers on one database: they start together and share what is due."""

from __future__ import annotations

import asyncio

from sqlalchemy import text

from edda.storage.migrations import VERSION_TABLE
from tests.support.cluster import Cluster, result_of


async def test_five_workers_start_together_on_an_empty_database(cluster: Cluster) -> None:
    """One makes the schema, the others wait for it; all of them run."""
    workers = await asyncio.gather(*(cluster.worker() for _ in range(5)))
    assert all(worker.is_running for worker in workers)
    storage = await cluster.storage()
    async with storage.engine.connect() as connection:
        versions = (await connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}"))).all()
    assert len(versions) == 1
    await cluster.insert_due("five_steps", {"seconds": 0.0}, 10)
    await cluster.all_end(10)
    assert [await worker.terminate() for worker in workers] == [0] * 5
    assert not [worker.output for worker in workers if "WARNING" in worker.output]


async def test_two_workers_share_what_is_due(cluster: Cluster) -> None:
    """Each of 200 instances is run once, under its first lease, and both workers take part.

    A worker runs a hundred at once, and none ends before all have begun.
    """
    await cluster.insert_due("five_steps", {"seconds": 0.0}, 200)
    first, second = await asyncio.gather(cluster.worker(HOLD=1), cluster.worker(HOLD=1))
    await cluster.effects_reach(200)
    cluster.open_the_gate()
    found = await cluster.all_end(200)
    await cluster.check_steps(5, executed_once=True)
    runs = [(set(result_of(instance)), instance["lease_token"]) for instance in found.values()]
    assert all(len(pids) == 1 and token == 1 for pids, token in runs)
    assert set.union(*(pids for pids, _ in runs)) == {first.pid, second.pid}
