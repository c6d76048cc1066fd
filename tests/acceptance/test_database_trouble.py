"""A database that goes away: workflows wait for it, and their history says nothing of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import pytest
from sqlalchemy import make_url

from edda.activity import activity
from edda.app import EddaApp
from edda.context import WorkflowContext
from edda.workflow import workflow
from tests.support.cluster import LEASE_DURATION, Cluster, Start
from tests.support.databases import Databases, fresh_database
from tests.support.eventually import pause
from tests.support.proxy import CommitFault, FaultProxy, proxy_to
from tests.support.server import DatabaseServer
from tests.support.workers import Workers

NOTICED = "The database cannot be reached, trying again"
TWENTY = Start("five_steps", {"seconds": 0.1}, 20)
# Nobody ends his workflows before the trouble: their last steps wait for the gate.
HELD: dict[str, Any] = {"HOLD": 5, "leader_lease_duration": 45}


@pytest.fixture
async def private_cluster(
    private_server: DatabaseServer, workers: Workers, tmp_path: Path
) -> AsyncIterator[Cluster]:
    """Workers on a server that the test may stop."""
    database = await private_server.create_database()
    cluster = Cluster(private_server.url_for(database), workers, tmp_path)
    await cluster.storage()
    yield cluster
    await workers.close()
    await cluster.close()


async def test_a_killed_database_server_that_comes_back_leaves_no_trace(
    private_cluster: Cluster, private_server: DatabaseServer
) -> None:
    """Two workers; the outage is shorter than the lease, so that no step is executed twice."""
    cluster = private_cluster
    workers = await asyncio.gather(*(cluster.worker(TWENTY, **HELD) for _ in range(2)))
    await cluster.effects_reach(60)
    await private_server.kill()
    cluster.open_the_gate()
    await asyncio.gather(*(worker.wait_for_line(NOTICED) for worker in workers))
    await private_server.start()
    await cluster.all_end(40)
    await cluster.check_steps(5, executed_once=True)
    assert {instance["lease_token"] for instance in (await cluster.instances()).values()} == {1}
    assert [await worker.terminate() for worker in workers] == [0, 0]


@pytest.mark.parametrize("database_url", ["postgresql", "mysql"], indirect=True)
async def test_cut_and_refused_connections_leave_no_trace(
    cluster: Cluster, databases: Databases, database_url: str
) -> None:
    """Four cuts and a second of refusals while the workflows run."""
    url = make_url(database_url)
    kind: Literal["postgresql", "mysql"] = "mysql" if "mysql" in url.drivername else "postgresql"
    await cluster.storage()
    async with proxy_to(await databases.shared_server(kind)) as proxy:
        far = proxy.url_for(url.database or "")
        workers = await asyncio.gather(*(cluster.worker(TWENTY, url=far, **HELD) for _ in range(2)))
        for effects in (25, 50, 75, 100):
            await cluster.effects_reach(effects)
            proxy.cut()
        proxy.refuse()
        cluster.open_the_gate()
        await pause(1)
        proxy.accept()
        await cluster.all_end(40)
        await cluster.check_steps(5, executed_once=True)
        assert [await worker.terminate() for worker in workers] == [0, 0]
        assert all(NOTICED in worker.output for worker in workers)


@pytest.mark.parametrize(
    ("database_url", "trouble"), [("postgresql", "withheld"), ("mysql", "refused")], indirect=["database_url"]
)
async def test_an_outage_longer_than_the_lease_leaves_no_trace_in_the_history(
    cluster: Cluster, databases: Databases, database_url: str, trouble: str
) -> None:
    """Leases run out meanwhile, and what was done but not recorded is done again; nothing fails."""
    url = make_url(database_url)
    kind: Literal["postgresql", "mysql"] = "mysql" if "mysql" in url.drivername else "postgresql"
    await cluster.storage()
    async with proxy_to(await databases.shared_server(kind)) as proxy:
        workers = await asyncio.gather(
            *(
                cluster.worker(
                    TWENTY, url=proxy.url_for(url.database or ""), leader_lease_duration=LEASE_DURATION
                )
                for _ in range(2)
            )
        )
        await cluster.effects_reach(50)
        begin, end = (proxy.refuse, proxy.accept) if trouble == "refused" else (proxy.black_hole, proxy.heal)
        begin()
        await pause(LEASE_DURATION)  # the leases are shorter by a third
        end()
        await cluster.all_end(40)
        await cluster.check_steps(5)
        for worker in workers:
            assert await worker.terminate() == 0


class _Saboteur:
    """Loses one COMMIT of a run: number 0 makes the instance, 6 ends it, the others are its steps."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self._proxy: FaultProxy | None = None
        self._at = -1
        self._fault = CommitFault.ANSWER_LOST

    def plan(self, proxy: FaultProxy, at: int, fault: CommitFault) -> None:
        self.calls.clear()
        self._proxy, self._at, self._fault = proxy, at, fault

    def before_commit(self, number: int) -> None:
        if number == self._at:
            assert self._proxy is not None
            self._proxy.fail_next_commit(self._fault)


saboteur = _Saboteur()


@activity
async def sabotaged(ctx: WorkflowContext, number: int) -> int:
    saboteur.calls.append(number)
    saboteur.before_commit(number)
    return number


@workflow
async def sabotaged_steps(ctx: WorkflowContext) -> list[int]:
    results = [await sabotaged(ctx, number) for number in range(1, 6)]
    saboteur.before_commit(6)
    return results


@pytest.mark.parametrize("fault", CommitFault)
@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
async def test_each_commit_of_a_workflow_may_be_lost(
    databases: Databases,
    kind: Literal["postgresql", "mysql"],
    fault: CommitFault,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whether it was carried out or not: each step is recorded once and executed once."""
    server = await databases.shared_server(kind)
    async with fresh_database(server) as url, proxy_to(server) as proxy:
        app = EddaApp("acceptance", proxy.url_for(make_url(url).database or ""))
        async with app:
            await sabotaged_steps.start()
            for lost in range(7):
                saboteur.plan(proxy, lost, fault)
                saboteur.before_commit(0)
                instance_id = await sabotaged_steps.start()
                instance = await app.storage.load_instance(instance_id)
                history = await app.storage.get_history(instance_id)
                assert instance is not None
                assert (instance.status, instance.attempts) == ("completed", 0)
                assert json.loads(instance.output_data or "") == {"result": [1, 2, 3, 4, 5]}
                assert [row["activity_id"] for row in history] == [f"sabotaged:{n}" for n in range(1, 6)]
                assert not [row for row in history if "retry_metadata" in str(row)]
                assert saboteur.calls == [1, 2, 3, 4, 5]
                assert caplog.text.count(NOTICED) == lost + 1
