"""Chains of recurs through kills and lost commits: one live instance, and no number twice or missing."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Literal

import pytest
from sqlalchemy import make_url

from edda.app import EddaApp
from edda.context import WorkflowContext
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.types import Status
from edda.workflow import workflow
from tests.support.chains import chain_of, stored_chain
from tests.support.cluster import Cluster, Start
from tests.support.databases import Databases, fresh_database
from tests.support.eventually import eventually, pause
from tests.support.proxy import CommitFault, FaultProxy, proxy_to

KILLS = 3
CHAINS = 5
LAST = 30


async def test_kills_at_random_moments_leave_one_live_instance_of_each_chain(cluster: Cluster) -> None:
    """Each worker starts chains, takes over those of the dead, and is killed in the middle."""
    moments = random.Random(cluster.url.partition(":")[0])  # others on each kind of database
    storage = await cluster.storage()
    starts = Start("counts", {"number": 0, "last": LAST}, CHAINS)
    for _ in range(KILLS):
        effects = len(cluster.effects())
        victim = await cluster.worker(starts)
        await cluster.effects_reach(effects + moments.randint(1, CHAINS * LAST // 2))
        await pause(moments.uniform(0, 0.05))
        await cluster.kill(victim)
        await _check_chains(cluster, storage)
    await cluster.worker()
    await eventually(lambda: _check_chains(cluster, storage, ended=KILLS * CHAINS))


async def _check_chains(cluster: Cluster, storage: SQLAlchemyStorage, *, ended: int | None = None) -> None:
    found = await cluster.instances()
    completed = 0
    for first_id in [key for key, row in found.items() if row["chain_id"] is None]:
        *before, last = await stored_chain(storage, first_id)
        assert {row["status"] for row in before} <= {Status.RECURRED}
        assert last["status"] in (Status.RUNNING, Status.COMPLETED)
        numbers = [json.loads(row["input_data"])["number"] for row in (*before, last)]
        assert numbers == list(range(len(numbers)))
        archived = await asyncio.gather(
            *(storage.get_archived_history(row["instance_id"]) for row in before[-3:])
        )
        assert [[step["activity_id"] for step in rows] for rows in archived] == [["step:1"]] * len(archived)
        completed += (last["status"], len(before)) == (Status.COMPLETED, LAST)
    assert ended in (None, completed)


class _Saboteur:
    """Loses the COMMIT of one recur of a chain."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self._plan: tuple[FaultProxy, int, CommitFault] | None = None

    def plan(self, proxy: FaultProxy, at: int, fault: CommitFault) -> None:
        self.calls.clear()
        self._plan = proxy, at, fault

    def before_recur(self, number: int) -> None:
        self.calls.append(number)
        if self._plan is not None and self._plan[1] == number:
            self._plan[0].fail_next_commit(self._plan[2])


saboteur = _Saboteur()


@workflow
async def sabotaged_chain(ctx: WorkflowContext, number: int = 0) -> int:
    if number < 3:
        saboteur.before_recur(number)
        await ctx.recur(number=number + 1)
    return number


@pytest.mark.parametrize("fault", CommitFault)
@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
async def test_each_commit_of_a_recur_may_be_lost(
    databases: Databases,
    kind: Literal["postgresql", "mysql"],
    fault: CommitFault,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whether it was carried out or not: the chain goes on, once, and under its first leases."""
    server = await databases.shared_server(kind)
    async with fresh_database(server) as url, proxy_to(server) as proxy:
        app = EddaApp("acceptance", proxy.url_for(make_url(url).database or ""))
        async with app:
            await sabotaged_chain.start()
            for lost in range(3):
                saboteur.plan(proxy, lost, fault)
                links = await chain_of(app, await sabotaged_chain.start())
                assert [row["status"] for row in links] == ["recurred"] * 3 + ["completed"]
                assert {(row["lease_token"], row["attempts"]) for row in links} == {(1, 0)}
                assert saboteur.calls == [0, 1, 2]
                assert caplog.text.count("The database cannot be reached, trying again") == lost + 1
