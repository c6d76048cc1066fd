"""Workflows that start workflows."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from edda import RetryPolicy, WorkflowContext, activity, sleep, workflow
from edda.app import EddaApp
from edda.ids import derived_instance_id
from edda.types import JSONObject
from edda.workflow import _registry
from tests.support import branching
from tests.support.apps import (
    Apps,
    always_replay,
    engine_of,
    instance,
    reached,
    result_of,
    steps_of,
    stop_claiming,
)
from tests.support.eventually import eventually

calls: list[Any] = []


@workflow
async def child(ctx: WorkflowContext, number: int) -> int:
    calls.append(number)
    if number < 0:
        raise ValueError("negative", number)
    if number > 100:
        await sleep(ctx, 3600)
    return number


@pytest.fixture(autouse=True)
def _fresh() -> None:
    calls.clear()
    _registry["child"] = child


async def test_a_child_is_started_once_however_often_its_parent_is_replayed(app: EddaApp) -> None:
    always_replay(app)

    @workflow
    async def parent(ctx: WorkflowContext) -> str:
        child_id = await child.start(number=7)
        await sleep(ctx, 0.05)
        await sleep(ctx, 0.05)
        return child_id

    parent_id = await parent.start()
    child_id = await result_of(app, parent_id)

    assert calls == [7]
    assert (await instance(app, child_id))["output_data"] == {"result": 7}
    assert (await steps_of(app, parent_id))[0] == ("start_child:1", "ChildWorkflowStarted")


async def test_the_failure_of_a_child_is_raised_in_its_parent_live_and_on_replay(app: EddaApp) -> None:
    always_replay(app)
    seen: list[tuple[type, Any]] = []

    @workflow
    async def parent(ctx: WorkflowContext) -> str:
        try:
            await child.start(number=-1)
        except ValueError as error:
            seen.append((type(error), error.args))
        await sleep(ctx, 0.05)
        return "went on"

    assert await result_of(app, await parent.start()) == "went on"
    assert seen == [(ValueError, ("negative", -1))] * 2
    assert calls == [-1]


async def test_a_child_that_waits_lets_its_parent_go_on(app: EddaApp) -> None:
    @workflow
    async def parent(ctx: WorkflowContext) -> str:
        return await child.start(number=101)

    child_id = await result_of(app, await parent.start())

    assert (await instance(app, child_id))["status"] == "waiting_for_timer"


async def test_wrong_arguments_of_a_child_start_nothing_and_are_not_recorded(app: EddaApp) -> None:
    @workflow
    async def parent(ctx: WorkflowContext) -> str:
        try:
            await child.start()
        except TypeError as error:
            return str(error)
        return "started"

    parent_id = await parent.start()

    assert "number" in await result_of(app, parent_id)
    assert (calls, await steps_of(app, parent_id)) == ([], [])


async def test_a_parent_that_died_before_recording_finds_the_child_it_started(apps: Apps) -> None:
    app = await apps.start()

    @workflow
    async def parent(ctx: WorkflowContext, number: int) -> str:
        try:
            return await child.start(number=number)
        except ValueError as error:
            return f"failed: {error.args}"

    async def forget_outcome_of(parent_id: str) -> None:
        """What the database holds when the process dies just before the step is recorded."""
        storage: Any = app.storage
        async with storage.engine.begin() as connection:
            where = f"WHERE instance_id = '{parent_id}'"
            await connection.exec_driver_sql(f"DELETE FROM workflow_history {where}")
            await connection.exec_driver_sql(
                f"UPDATE workflow_instances SET status = 'running', output_data = NULL {where}"
            )

    good, bad = await parent.start(number=1), await parent.start(number=-1)
    first: list[JSONObject] = [await reached(app, good), await reached(app, bad)]
    for parent_id in (good, bad):
        await forget_outcome_of(parent_id)
        await engine_of(app).resume_by_name(parent_id, "parent")

    again = [await reached(app, good), await reached(app, bad)]
    assert [row["output_data"] for row in again] == [row["output_data"] for row in first]
    assert calls == [1, -1]


@activity(retry_policy=RetryPolicy(initial_interval=3600, max_attempts=2))
async def out_of_reach(ctx: WorkflowContext) -> None:
    raise OSError


@workflow
async def late_child(ctx: WorkflowContext, kind: str) -> None:
    if kind == "tries again":
        await out_of_reach(ctx)
    await branching.gated(ctx, "child")
    raise ValueError("negative", kind)


@workflow
async def late_parent(ctx: WorkflowContext, kind: str) -> str:
    try:
        return await late_child.start(kind=kind)
    except ValueError as error:
        return f"failed: {error.args[1]} {getattr(error, '__notes__', [])}"


CHILD_ID = derived_instance_id("late_child", "late", "start_late_child:1")


async def test_a_parent_that_takes_over_waits_for_the_child_that_another_run_executes(app: EddaApp) -> None:
    """T22: it learns what it would have learnt if it had not died."""
    engine = engine_of(app)
    first = asyncio.create_task(engine.start(late_child, {"kind": "leased"}, None, instance_id=CHILD_ID))
    await branching.begun("child").wait()
    parent = asyncio.create_task(engine.start(late_parent, {"kind": "leased"}, None, instance_id="late"))

    async def looks_at_it() -> None:
        assert engine.run_of("late") is not None

    await eventually(looks_at_it)
    branching.gate("child").set()
    await asyncio.gather(first, parent, return_exceptions=True)

    told = f"failed: leased ['Edda workflow instance: {CHILD_ID}']"
    assert await result_of(app, "late") == told


async def test_a_parent_that_takes_over_runs_the_child_that_nobody_runs(app: EddaApp) -> None:
    """The worker that had both of them died; none has room for the child but the one of its parent."""
    await stop_claiming(app)
    engine = engine_of(app)
    new, _ = engine.creation.prepare(late_child, {"kind": "left"}, leased=False, instance_id=CHILD_ID)
    await engine.creation.register_definition(late_child)
    await app.storage.submit(new)
    branching.gate("child").set()
    await engine.start(late_parent, {"kind": "left"}, None, instance_id="late")

    assert await result_of(app, "late") == f"failed: left ['Edda workflow instance: {CHILD_ID}']"
    assert (await instance(app, CHILD_ID))["status"] == "failed"


async def test_a_parent_that_takes_over_goes_on_when_its_child_tries_again_later(
    app: EddaApp,
) -> None:
    engine = engine_of(app)
    await engine.start(late_child, {"kind": "tries again"}, None, instance_id=CHILD_ID)
    await engine.start(late_parent, {"kind": "tries again"}, None, instance_id="late")

    assert await result_of(app, "late") == CHILD_ID


async def test_a_child_started_in_an_activity_exists_only_if_the_attempt_commits(app: EddaApp) -> None:
    started: list[str] = []

    @activity(retry_policy=RetryPolicy(initial_interval=0.01))
    async def starts(ctx: WorkflowContext) -> str:
        started.append(await child.start(number=len(started)))
        if len(started) == 1:
            raise OSError("this attempt is rolled back")
        return started[-1]

    @workflow
    async def parent(ctx: WorkflowContext) -> str:
        return await starts(ctx)

    child_id = await result_of(app, await parent.start())

    await reached(app, child_id)
    assert await app.storage.get_instance(started[0]) is None
    assert (child_id, calls) == (started[1], [1])


async def test_a_child_started_in_a_block_of_the_body_is_a_step_of_the_block(app: EddaApp) -> None:
    always_replay(app)
    seen: list[str] = []

    @workflow
    async def parent(ctx: WorkflowContext) -> str:
        async with ctx.transaction():
            child_id = await child.start(number=5)
        seen.append(child_id)
        await sleep(ctx, 0.05)
        return child_id

    parent_id = await parent.start()
    child_id = await result_of(app, parent_id)

    await reached(app, child_id)
    assert seen == [child_id] * 2
    assert ("transaction:1/start_child:1", "ChildWorkflowStarted") in await steps_of(app, parent_id)
    assert calls == [5]


async def test_what_a_post_commit_callback_starts_is_no_step_that_a_replay_would_miss(app: EddaApp) -> None:
    always_replay(app)

    @activity
    async def tells(ctx: WorkflowContext) -> None:
        async def after() -> None:
            await child.start(number=6)

        ctx.register_post_commit(after)

    @workflow
    async def parent(ctx: WorkflowContext) -> str:
        await tells(ctx)
        async with ctx.transaction():

            async def after() -> None:
                await child.start(number=7)

            ctx.register_post_commit(after)
        await sleep(ctx, 0.05)
        return "went on"

    assert await result_of(app, await parent.start()) == "went on"
    assert calls == [6, 7]
