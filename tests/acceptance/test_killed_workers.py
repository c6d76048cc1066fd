"""Workers that are killed, frozen, blocked or stopped: others go on, and nothing is done twice."""

from __future__ import annotations

import asyncio
import random
from datetime import datetime, timedelta

from edda import clock
from tests.support.cluster import LEASE_DURATION, Cluster, Start, result_of, step_names
from tests.support.durable_programs import LAST_BACK_OFF, LOCK_TIMEOUT
from tests.support.eventually import eventually, pause
from tests.support.notifications import on_postgresql

FIVE = Start("five_steps", {"seconds": 0.0})
NAP = 2.0


async def test_workflows_of_killed_workers_are_finished_by_the_last_one(cluster: Cluster) -> None:
    """Of three workers two die at random moments; each step is recorded once and never repeated after.

    The first two hold an instance up that comes to their last steps, so that the third has something to do.
    """
    moments = random.Random(cluster.url.partition(":")[0])  # others on each kind of database
    await cluster.storage()
    twenty = Start("five_steps", {"seconds": moments.uniform(0.08, 0.2)}, 20)
    second = await cluster.worker(HOLD=5)
    first = await cluster.worker(twenty, HOLD=4)
    for victim, moment in ((first, moments.randint(20, 45)), (second, moments.randint(50, 70))):
        await cluster.effects_reach(moment)
        await pause(moments.uniform(0, 0.05))
        if victim is second:
            third = await cluster.worker()
        await cluster.kill(victim)
    found = await cluster.all_end(20)
    await cluster.check_steps(5)
    assert all(third.pid in result_of(instance) for instance in found.values())


async def test_a_dead_workers_instance_is_taken_over_within_the_lease_duration(cluster: Cluster) -> None:
    """The lock timeout of 300 s does not matter, and recorded steps stay as they are."""
    await cluster.storage()
    first = await cluster.worker(FIVE, HOLD=3, leader_lease_duration=LEASE_DURATION)
    await cluster.effects_reach(3)
    leased_until = await _due_at(cluster)
    await eventually(lambda: _check_renewed(cluster, leased_until))
    await first.kill()
    assert await _due_at(cluster) - clock.now() < timedelta(seconds=LEASE_DURATION)
    second = await cluster.worker(leader_lease_duration=LEASE_DURATION)
    await cluster.all_end(1)
    # Whoever stands still for too long loses its lease, and does a step again.
    steps = list(dict.fromkeys((effect.step, effect.pid) for effect in cluster.effects()))
    assert steps == [(f"step:{n}", first.pid) for n in (1, 2, 3)] + [
        (f"step:{n}", second.pid) for n in (3, 4, 5)
    ]


async def _due_at(cluster: Cluster) -> datetime:
    [instance] = (await cluster.instances()).values()
    due_at: datetime = instance["due_at"]
    return due_at


async def _check_renewed(cluster: Cluster, before: datetime) -> None:
    assert await _due_at(cluster) > before


async def test_instances_of_a_worker_that_stops_in_order_go_on_at_once(cluster: Cluster) -> None:
    """With long leases: the running step is finished and recorded, the lease handed back."""
    await cluster.storage()
    first, second = await asyncio.gather(
        cluster.worker(Start("five_steps", {"seconds": 0.2}, 10), HOLD=3, leader_lease_duration=45),
        cluster.worker(leader_lease_duration=45),
    )
    await cluster.effects_reach(30)
    first.ask_to_end()
    await first.wait_for_line("^stopping$")
    cluster.open_the_gate()
    assert await first.wait() == 0
    owners = [instance["lease_owner"] or "" for instance in (await cluster.instances()).values()]
    assert not [owner for owner in owners if f"-{first.pid}-" in owner]
    await cluster.effects_reach(1, of=second)
    await cluster.all_end(10)
    await cluster.check_steps(5, executed_once=True)


async def test_a_worker_frozen_for_longer_than_its_lease_changes_nothing(cluster: Cluster) -> None:
    """History and end are the other worker's; the frozen one says in its log what happened."""
    await cluster.storage()
    frozen = await cluster.worker(FIVE, HOLD=3, leader_lease_duration=LEASE_DURATION)
    await cluster.effects_reach(3)
    await cluster.freeze(frozen)
    second = await cluster.worker(leader_lease_duration=LEASE_DURATION)
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


@on_postgresql
async def test_a_blocked_event_loop_leads_to_one_completion(cluster: Cluster) -> None:
    """The body blocks for longer than the lease; the late run ends without a write."""
    await cluster.storage()
    blocked = await cluster.worker(
        Start("blocks_the_loop", {}), HOLD="block", leader_lease_duration=LEASE_DURATION
    )
    await eventually(lambda: _check_recorded(cluster, 1))
    second = await cluster.worker(leader_lease_duration=LEASE_DURATION)
    [instance] = (await cluster.all_end(1)).values()
    assert result_of(instance) == [blocked.pid, second.pid]
    await second.wait_for_line("^completed blocks_the_loop-")
    cluster.open_the_gate()
    # Which of the two it says depends on what it tries first when it goes on.
    await blocked.wait_for_line("(Lost the lease of|Instance) blocks_the_loop-")
    assert await blocked.terminate() == 0
    assert list((await cluster.instances()).values()) == [instance]
    assert len(await cluster.history()) == 2
    assert "completed" not in blocked.output
    assert second.output.count("completed") == 1


async def _check_recorded(cluster: Cluster, count: int) -> None:
    assert len(await cluster.history()) == count


@on_postgresql
async def test_a_run_outlives_its_lock_timeout(cluster: Cluster) -> None:
    """A step that is longer than the timeout is executed once, by the worker that began it."""
    await cluster.storage()
    first = await cluster.worker(Start("outlives_its_lock", {}), HOLD=1, leader_lease_duration=45)
    await cluster.effects_reach(1)
    await pause(LOCK_TIMEOUT)
    await cluster.worker(leader_lease_duration=45)  # which looks at once for what it may take
    cluster.open_the_gate()
    [instance] = (await cluster.all_end(1)).values()
    assert (result_of(instance), instance["lease_token"]) == (first.pid, 1)
    assert step_names(cluster.effects()) == ["step:1"]


async def test_attempts_and_timers_of_a_dead_worker_go_on_in_time(cluster: Cluster) -> None:
    """Two failures before the kill, so one more call; neither that call nor the timer is early."""
    await cluster.storage()
    first, second = await asyncio.gather(
        cluster.worker(Start("fails_for_good", {}), Start("sleeps", {"seconds": NAP}), HOLD="last"),
        cluster.worker(),
    )
    await eventually(lambda: _check_waits_for_third_attempt(cluster))
    await cluster.kill(first)
    await cluster.all_end(1, failed=1)
    assert await cluster.waits() == []

    before, after = [effect for effect in cluster.effects() if effect.step.startswith("step:")]
    assert (before.pid, after.pid) == (first.pid, second.pid)
    assert (after.at - before.at).total_seconds() >= NAP
    calls = [effect for effect in cluster.effects() if effect.step == "hopeless:1"]
    assert [call.pid for call in calls] == [first.pid, first.pid, second.pid]
    assert (calls[2].at - calls[1].at).total_seconds() >= LAST_BACK_OFF
    rows = {row["event_type"]: row["event_data"] for row in await cluster.history()}
    metadata = rows["ActivityFailed"]["retry_metadata"]
    assert (metadata["total_attempts"], len(metadata["errors"])) == (3, 3)
    assert rows["WorkflowFailed"]["error_type"] == "RetryExhaustedError"


async def _check_waits_for_third_attempt(cluster: Cluster) -> None:
    assert [wait for wait in await cluster.waits() if '"total_attempts":2' in (wait["data"] or "")]
