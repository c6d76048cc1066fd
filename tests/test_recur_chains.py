"""Chains of recurs: over waits, beside parents, through the hands of several workers, and long ones."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc

import pytest

from edda import WorkflowContext, sleep, workflow
from edda.app import EddaApp
from edda.exceptions import LockLostError, ShuttingDownError
from tests.support.apps import Apps, always_replay, engine_of, look_for_work, result_of
from tests.support.chains import chain_of, statuses
from tests.support.eventually import eventually, until
from tests.support.noting import calls, note
from tests.support.rows import steal


@pytest.mark.parametrize("resident", [True, False])
async def test_a_chain_goes_on_over_waits(app: EddaApp, resident: bool) -> None:
    @workflow
    async def watch(ctx: WorkflowContext, seen: int = 0) -> int:
        calls.append(ctx.run.chain_id)
        await note(ctx, f"before {seen}")
        await sleep(ctx, 0.01)
        if seen < 3:
            await ctx.recur(seen=seen + 1)
        return seen

    if not resident:
        always_replay(app)
    first_id = await watch.start(lock_timeout_seconds=100)

    async def ended() -> None:
        assert await statuses(app, first_id) == ["recurred"] * 3 + ["completed"]

    await eventually(ended)
    links = await chain_of(app, first_id)
    assert {row["lock_timeout_seconds"] for row in links} == {100}
    assert [call for call in calls if "before" in call] == [f"before {seen}" for seen in range(4)]
    assert {call for call in calls if "before" not in call} == {first_id}
    for row in links[:-1]:
        archived = await app.storage.get_archived_history(row["instance_id"])
        assert [step["activity_id"] for step in archived] == ["note:1", "sleep:1"]
        assert await app.storage.load_waits(row["instance_id"]) == []


async def test_a_parent_waits_for_the_end_of_the_chain_of_its_child(app: EddaApp) -> None:
    @workflow
    async def countdown(ctx: WorkflowContext, left: int) -> None:
        if left > 0:
            await ctx.recur(left=left - 1)

    @workflow
    async def failing(ctx: WorkflowContext, left: int = 1) -> None:
        if left > 0:
            await ctx.recur(left=left - 1)
        raise OSError("at the end")

    @workflow
    async def parent(ctx: WorkflowContext) -> list[str]:
        first_id = await countdown.start(left=2)
        try:
            await failing.start()
        except OSError as error:
            return [first_id, str(error)]
        return []

    first_id, error = await result_of(app, await parent.start())
    assert await statuses(app, first_id) == ["recurred", "recurred", "completed"]
    assert error == "at the end"


async def test_a_run_that_lost_its_lease_leaves_no_successor(app: EddaApp) -> None:
    stolen = False

    @workflow
    async def flow(ctx: WorkflowContext, turn: int = 0) -> int:
        nonlocal stolen
        if not stolen:
            stolen = True
            calls.append(ctx.instance_id)
            await steal(app, ctx.instance_id)
        if turn == 0:
            await ctx.recur(turn=1)
        return turn

    with pytest.raises(LockLostError):
        await flow.start()
    look_for_work(app)

    async def ended_elsewhere() -> None:
        assert await statuses(app, calls[0]) == ["recurred", "completed"]

    await eventually(ended_elsewhere)


async def test_a_shutdown_hands_back_the_live_instance_and_another_worker_goes_on(apps: Apps) -> None:
    first, second = await apps.start(), apps.make()

    @workflow
    async def endless(ctx: WorkflowContext, turn: int = 0) -> int:
        calls.append(turn)
        if second.replay_engine is None:
            await ctx.recur(turn=turn + 1)
        return turn

    with first.activate():
        running = asyncio.create_task(endless.start())
    await until(lambda: len(calls) > 20)
    await first.shutdown()
    with pytest.raises(ShuttingDownError) as caught:
        await running
    last = calls[-1]
    await second.initialize()
    assert caught.value.instance_id is not None
    assert await result_of(second, caught.value.instance_id) == last

    live = await second.storage.load_instance(caught.value.instance_id)
    assert live is not None
    assert (live.attempts, live.continued_from is None) == (0, False)
    assert [turn for turn in calls if turn != last] == list(range(last))


@workflow
async def long_loop(ctx: WorkflowContext, left: int) -> str:
    if left % 200 == 0:
        gc.collect()
        calls.append(tracemalloc.get_traced_memory()[0])
    if left > 0:
        await ctx.recur(left=left - 1)
    return ctx.instance_id


@pytest.mark.parametrize("empty_database_url", ["sqlite"], indirect=True)
async def test_a_long_chain_takes_no_memory_that_grows(app: EddaApp) -> None:
    tracemalloc.start()
    try:
        await long_loop.start(left=600)
    finally:
        tracemalloc.stop()
    assert len(calls) == 4
    assert len(engine_of(app).leases) == engine_of(app).running == 0
    assert calls[3] - calls[1] < 200_000, "an instance that is kept takes some kilobytes"
