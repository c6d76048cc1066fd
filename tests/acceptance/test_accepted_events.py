"""An event answered with 202 is in the database, whatever happens to the server next."""

from __future__ import annotations

import asyncio
from collections import Counter

from tests.support.cluster import Cluster, post_event, step_names
from tests.support.eventually import eventually
from tests.support.workers import Worker


async def test_an_accepted_event_starts_its_workflow_although_the_server_dies(cluster: Cluster) -> None:
    """Killed right after the answer; posted again, the event starts nothing more."""
    server, port = await cluster.server(HOLD=1)
    assert await post_event(port, "order_placed", "7", {"seconds": 0.0}) == 202
    await cluster.kill(server)
    [stored] = await cluster.instances()
    server, port = await cluster.server()
    assert await post_event(port, "order_placed", "7", {"seconds": 0.0}) == 202
    assert list(await cluster.all_end(1)) == [stored]
    assert await post_event(port, "order_placed", "7", {"seconds": 0.0}) == 202
    assert await post_event(port, "order_placed", "8", {"seconds": 0.0}) == 202
    assert len(await cluster.all_end(2)) == 2
    await cluster.check_steps(3)


async def test_an_event_handler_runs_again_after_the_server_died(cluster: Cluster) -> None:
    """The handler was in the middle of its work; posting the event again adds no run of it."""
    server, port = await cluster.server(HOLD="visit")
    assert await post_event(port, "visit", "7", {}) == 202
    await cluster.effects_reach(1)
    await cluster.kill(server)
    second, port = await cluster.server()
    await cluster.effects_reach(1, of=second)
    await cluster.all_end(1)
    assert await post_event(port, "visit", "7", {}) == 202
    assert await post_event(port, "visit", "8", {}) == 202
    await cluster.all_end(2)
    visits = [(effect.instance_id, effect.pid) for effect in cluster.effects()]
    assert visits == [("7", server.pid), ("7", second.pid), ("8", second.pid)]


async def test_a_server_stops_in_time_under_load_and_hands_its_leases_back(cluster: Cluster) -> None:
    """One step never ends by itself; what was accepted is finished by the next server."""
    server, port = await cluster.server(HOLD=3, drain_seconds=1.0, leader_lease_duration=45)
    accepted: list[str] = []
    clients = [asyncio.create_task(_post_until_refused(port, name, accepted)) for name in "abcd"]
    await eventually(lambda: _check_count(accepted, 40))
    await cluster.effects_reach(40)
    await server.terminate()  # which would wait for ever if it waited for that step
    await asyncio.gather(*clients)
    left = await cluster.instances()
    assert {instance["lease_owner"] for instance in left.values()} == {None}
    await _finish_the_rest(cluster, len(left))
    assert len(left) >= len(accepted)
    starts = Counter(effect.instance_id for effect in cluster.effects() if effect.step == "step:1")
    assert starts.keys() == left.keys()


async def _post_until_refused(port: int, client: str, accepted: list[str]) -> None:
    number = 0
    while True:
        number += 1
        try:
            status = await post_event(port, "order_placed", f"{client}{number}", {"seconds": 0.02})
        except OSError:
            return
        if status != 202:
            return
        accepted.append(f"{client}{number}")


def _check_count(accepted: list[str], count: int) -> None:
    assert len(accepted) >= count


async def _finish_the_rest(cluster: Cluster, count: int) -> Worker:
    worker = await cluster.worker(max_workflows_per_batch=100)
    await cluster.all_end(count)
    await cluster.check_steps(3)
    assert "step:3" in step_names(effect for effect in cluster.effects() if effect.pid == worker.pid)
    return worker
