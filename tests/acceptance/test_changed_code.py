"""Code that changed while a worker died: nothing of it is executed, and the old code goes on."""

from __future__ import annotations

from collections import Counter

from tests.support.cluster import Cluster, Start
from tests.support.eventually import eventually


async def test_a_renamed_step_in_a_branch_is_not_executed_by_whoever_takes_over(cluster: Cluster) -> None:
    """The branch of the dead worker had two steps recorded, the other one was in the middle of its own."""
    await cluster.storage()
    first = await cluster.worker(Start("two_branches", {}), HOLD=3)
    await cluster.effects_reach(3)

    async def two_are_recorded() -> None:
        assert [row["activity_id"] for row in await cluster.history()] == ["first of old code", "second"]

    await eventually(two_are_recorded)
    await cluster.kill(first)
    second = await cluster.worker(CODE="new code")

    async def set_aside() -> None:
        [instance] = (await cluster.instances()).values()
        assert "step 'first of old code' is recorded" in str(instance["last_error"])

    await eventually(set_aside)
    await second.kill()
    await two_are_recorded()
    assert len(cluster.effects()) == 3

    third = await cluster.worker()
    await cluster.all_end(1)
    assert [row["activity_id"] for row in await cluster.history()] == ["first of old code", "second", "third"]
    executed = Counter((effect.step, effect.pid) for effect in cluster.effects())
    assert executed == {(f"step:{n}", first.pid): 1 for n in (1, 2, 3)} | {("step:3", third.pid): 1}
