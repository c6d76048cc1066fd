"""Workers come and go, stand still in the middle of a transaction, and have wrong clocks."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import func, select

from tests.chaos.rolling import STEPS, restart_all
from tests.support.cluster import LEASE_DURATION, Cluster, Start, result_of
from tests.support.durable_programs import entries
from tests.support.eventually import PATIENCE

# On SQLite one that stands still in a transaction has the file to itself.
on_servers = pytest.mark.parametrize("database_url", ["postgresql", "mysql"], indirect=True)


@on_servers
async def test_rows_of_a_worker_frozen_in_its_transaction_are_rolled_back(cluster: Cluster) -> None:
    """The step is done again elsewhere; when the frozen worker goes on, its rows go with its transaction."""
    storage = await cluster.storage()
    async with storage.engine.begin() as connection:
        await connection.run_sync(entries.metadata.create_all)
    frozen = await cluster.worker(Start("enters", {}), HOLD=2, leader_lease_duration=LEASE_DURATION)
    await cluster.effects_reach(2)
    await cluster.freeze(frozen)
    second = await cluster.worker(leader_lease_duration=LEASE_DURATION)
    [instance] = (await cluster.all_end(1)).values()
    before = await cluster.instances(), await cluster.history()
    frozen.thaw()
    cluster.open_the_gate()
    await frozen.wait_for_line("Lost the lease of enters-")
    assert await frozen.terminate() == 0
    assert (await cluster.instances(), await cluster.history()) == before
    assert result_of(instance) == [frozen.pid, second.pid, second.pid]
    assert {effect.step for effect in cluster.effects() if effect.pid == frozen.pid} == {"enter:1", "enter:2"}
    counts = select(entries.c.number, func.count()).group_by(entries.c.number).order_by(entries.c.number)
    async with storage.engine.connect() as connection:
        assert [tuple(row) for row in await connection.execute(counts)] == [(1, 1), (2, 1), (3, 1)]


@on_servers
async def test_a_rolling_restart_loses_nothing_but_time(cluster: Cluster) -> None:
    """With leases of half an hour and more: only what is handed back goes on. No step is done twice.

    With a thousand workflows it is ``python -m tests.chaos.rolling``.
    """
    await restart_all(cluster, runs=60, seconds=0.4, within=PATIENCE)
    await cluster.check_steps(STEPS, executed_once=True)


@on_servers
async def test_wrong_clocks_of_workers_move_neither_leases_nor_timers(cluster: Cluster) -> None:
    """Ten minutes ahead and behind: no instance is stolen, no timer is early, and none is late by minutes."""
    await cluster.storage()
    starts = (Start("sleeps", {"seconds": 1.5}), Start("five_steps", {"seconds": 0.5}, 3))
    workers = await asyncio.gather(*(cluster.worker(*starts, CLOCK=wrong) for wrong in (-600, 0, 600)))
    found = await cluster.all_end(12)
    runs = [set(result_of(one)) for one in found.values() if one["workflow_name"] == "five_steps"]
    assert all(len(pids) == 1 for pids in runs)
    assert set.union(*runs) == {worker.pid for worker in workers}
    executed = [(effect.instance_id, effect.step) for effect in cluster.effects()]
    assert len(set(executed)) == len(executed)
    for instance_id in (name for name in found if name.startswith("sleeps-")):
        before, after = [effect.at for effect in cluster.effects() if effect.instance_id == instance_id]
        assert (after - before).total_seconds() >= 1.5
