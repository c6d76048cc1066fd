"""Workers that are killed, frozen, blocked or stopped: others go on, and nothing is done twice."""

from __future__ import annotations

import asyncio
import random
import time

from tests.support.cluster import LEASE_DURATION, Cluster, Start, result_of, step_names
from tests.support.eventually import eventually, pause

FIVE = Start("five_steps", {"seconds": 0.0})


async def test_workflows_of_killed_workers_are_finished_by_the_last_one(cluster: Cluster) -> None:
    """Of three workers two die at random moments; each step is recorded once and never repeated after."""
    moments = random.Random(cluster.url.partition(":")[0])  # others on each kind of database
    await cluster.storage()
    twenty = Start("five_steps", {"seconds": moments.uniform(0.08, 0.2)}, 20)
    second, third = await asyncio.gather(cluster.worker(), cluster.worker())
    first = await cluster.worker(twenty)
    for victim, moment in ((first, moments.randint(20, 45)), (second, moments.randint(50, 70))):
        await cluster.effects_reach(moment)
        await pause(moments.uniform(0, 0.05))
        await victim.kill()
    found = await cluster.all_end(20)
    await cluster.check_steps(5)
    assert all(third.pid in result_of(instance) for instance in found.values())


async def test_a_dead_workers_instance_is_taken_over_within_the_lease_duration(cluster: Cluster) -> None:
    """The lock timeout of 300 s does not matter, and recorded steps stay as they are."""
    await cluster.storage()
    first, second = await asyncio.gather(cluster.worker(FIVE, HOLD=3), cluster.worker())
    await cluster.effects_reach(3)
    # Its lease is renewed for as long as it lives.
    await pause(LEASE_DURATION)
    await first.kill()
    killed_at = time.monotonic()
    await cluster.effects_reach(1, of=second)
    assert time.monotonic() - killed_at < LEASE_DURATION
    await cluster.all_end(1)
    steps = [(effect.step, effect.pid) for effect in cluster.effects()]
    assert steps == [(f"step:{n}", first.pid) for n in (1, 2, 3)] + [
        (f"step:{n}", second.pid) for n in (3, 4, 5)
    ]


async def test_instances_of_a_worker_that_stops_in_order_go_on_at_once(cluster: Cluster) -> None:
    """With long leases: the running step is finished and recorded, the lease handed back."""
    await cluster.storage()
    first, second = await asyncio.gather(
        cluster.worker(Start("five_steps", {"seconds": 0.2}, 10), leader_lease_duration=45),
        cluster.worker(leader_lease_duration=45),
    )
    await cluster.effects_reach(15)
    assert await first.terminate() == 0
    stopped_at = time.monotonic()
    await cluster.effects_reach(1, of=second)
    assert time.monotonic() - stopped_at < 2
    await cluster.all_end(10)
    await cluster.check_steps(5, executed_once=True)


async def test_a_worker_frozen_for_longer_than_its_lease_changes_nothing(cluster: Cluster) -> None:
    """History and end are the other worker's; the frozen one says in its log what happened."""
    await cluster.storage()
    frozen, second = await asyncio.gather(cluster.worker(FIVE, HOLD=3), cluster.worker())
    await cluster.effects_reach(3)
    frozen.freeze()
    await cluster.all_end(1)
    before = await cluster.instances(), await cluster.history()
    frozen.thaw()
    await frozen.wait_for_line("Lost the lease of five_steps-")
    cluster.open_the_gate()
    assert await frozen.terminate() == 0
    assert (await cluster.instances(), await cluster.history()) == before
    [instance] = before[0].values()
    assert result_of(instance) == [frozen.pid] * 2 + [second.pid] * 3
    assert "completed" not in frozen.output
    assert "Traceback" not in frozen.output


async def test_a_blocked_event_loop_leads_to_one_completion(cluster: Cluster) -> None:
    """The body blocks for longer than the lease; the late run ends without a write."""
    await cluster.storage()
    blocked, second = await asyncio.gather(
        cluster.worker(Start("blocks_the_loop", {}), BLOCK=1.3 * LEASE_DURATION), cluster.worker()
    )
    [instance] = (await cluster.all_end(1)).values()
    assert result_of(instance) == [blocked.pid, second.pid]
    await blocked.wait_for_line("Lost the lease of blocks_the_loop-")
    assert await blocked.terminate() == 0
    assert list((await cluster.instances()).values()) == [instance]
    assert len(await cluster.history()) == 2
    assert "completed" not in blocked.output
    assert second.output.count("completed") == 1


async def test_a_run_outlives_its_lock_timeout(cluster: Cluster) -> None:
    """A step of three times the timeout is executed once, by the worker that began it."""
    await cluster.storage()
    first, _ = await asyncio.gather(
        cluster.worker(Start("outlives_its_lock", {}), leader_lease_duration=45),
        cluster.worker(leader_lease_duration=45),
    )
    [instance] = (await cluster.all_end(1)).values()
    assert (result_of(instance), instance["lease_token"]) == (first.pid, 1)
    assert step_names(cluster.effects()) == ["step:1"]


async def test_attempts_and_timers_of_a_dead_worker_go_on_in_time(cluster: Cluster) -> None:
    """Two failures before the kill, so one more call; neither that call nor the timer is early."""
    await cluster.storage()
    first, second = await asyncio.gather(
        cluster.worker(Start("fails_for_good", {}), Start("sleeps", {"seconds": 2.5})), cluster.worker()
    )
    await eventually(lambda: _check_waits_for_third_attempt(cluster))
    await first.kill()
    await cluster.all_end(1, failed=1)
    assert await cluster.waits() == []

    before, after = [effect for effect in cluster.effects() if effect.step.startswith("step:")]
    assert (before.pid, after.pid) == (first.pid, second.pid)
    assert 2.5 <= (after.at - before.at).total_seconds() < 2.5 + 1.3 + 0.5
    calls = [effect for effect in cluster.effects() if effect.step == "hopeless:1"]
    assert [call.pid for call in calls] == [first.pid, first.pid, second.pid]
    assert (calls[2].at - calls[1].at).total_seconds() >= 1.0
    rows = {row["event_type"]: row["event_data"] for row in await cluster.history()}
    metadata = rows["ActivityFailed"]["retry_metadata"]
    assert (metadata["total_attempts"], len(metadata["errors"])) == (3, 3)
    assert rows["WorkflowFailed"]["error_type"] == "RetryExhaustedError"


async def _check_waits_for_third_attempt(cluster: Cluster) -> None:
    assert [wait for wait in await cluster.waits() if '"total_attempts":2' in (wait["data"] or "")]
