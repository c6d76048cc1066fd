"""Resuming instances, replaying them, and setting aside those that cannot go on."""

from __future__ import annotations

import asyncio

import pytest

from edda import WorkflowContext, activity, sleep, workflow
from edda.app import EddaApp
from edda.exceptions import LockNotAcquiredError, NonDeterminismError
from edda.workflow import _registry
from tests.support.apps import Apps, always_replay, engine_of, instance, result_of, steps_of
from tests.support.eventually import eventually, until
from tests.support.noting import calls, note
from tests.support.statements import counted


async def test_a_replay_reads_the_history_once_however_long_it_is(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> int:
        total = 0
        for number in range(200):
            total += len(await note(ctx, str(number)))
        await sleep(ctx, 3600)
        return total

    always_replay(app)
    instance_id = await flow.start()
    with counted() as statements:
        await flow.resume(instance_id)

    assert len(statements.containing("SELECT", "workflow_history")) == 1
    assert len(statements.texts) <= 15
    assert len(calls) == 200


async def test_resume_of_a_completed_instance_does_nothing(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        calls.append("entered")

    instance_id = await flow.start()
    await flow.resume(instance_id)
    assert calls == ["entered"]


async def test_resume_of_a_failed_instance_is_refused(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        raise OSError("no")

    with pytest.raises(OSError, match="no") as caught:
        await flow.start()
    instance_id = caught.value.instance_id  # type: ignore[attr-defined]

    with pytest.raises(ValueError) as refused:
        await flow.resume(instance_id)
    assert str(refused.value) == f"Cannot resume failed workflow {instance_id}"


async def test_resume_of_an_unknown_instance_is_refused(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> None: ...

    with pytest.raises(ValueError, match=r"^Workflow instance flow-nowhere not found$"):
        await flow.resume("flow-nowhere")


async def test_resume_of_an_instance_of_another_workflow_is_refused(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await sleep(ctx, 3600)

    @workflow
    async def other(ctx: WorkflowContext) -> None: ...

    instance_id = await flow.start()
    with pytest.raises(ValueError, match=f"^Workflow instance {instance_id} belongs to workflow 'flow'"):
        await other.resume(instance_id)


async def test_resume_while_another_worker_runs_it_is_refused(apps: Apps) -> None:
    first, second = await apps.start(), await apps.start()
    go_on = asyncio.Event()

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        calls.append(ctx.instance_id)
        await go_on.wait()

    with first.activate():
        running = asyncio.create_task(flow.start())
    await until(lambda: bool(calls))
    with second.activate(), pytest.raises(LockNotAcquiredError) as caught:
        await flow.resume(calls[0])
    go_on.set()
    await running

    assert str(caught.value) == f"Failed to acquire lock for instance {calls[0]}"
    assert len(calls) == 1


async def test_resume_with_nothing_due_runs_to_the_same_wait_again(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await note(ctx, "a")
        await sleep(ctx, 3600)

    instance_id = await flow.start()
    before = await app.storage.load_instance(instance_id)
    await flow.resume(instance_id)
    always_replay(app)
    await flow.resume(instance_id)
    after = await app.storage.load_instance(instance_id)

    assert before is not None
    assert after is not None
    assert (after.status, after.due_at) == ("waiting_for_timer", before.due_at)
    assert calls == ["a"]


async def test_resume_raises_the_error_of_the_workflow(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await sleep(ctx, 3600)
        raise AssertionError("never")

    @workflow
    async def moody(ctx: WorkflowContext) -> None:
        if calls:
            raise OSError("now")
        await sleep(ctx, 3600)

    instance_id = await moody.start()
    always_replay(app)
    calls.append("moody")
    with pytest.raises(OSError, match="now"):
        await moody.resume(instance_id)
    assert (await instance(app, instance_id))["status"] == "failed"


async def test_an_instance_is_resumed_by_the_name_of_its_workflow(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await sleep(ctx, 3600)

    instance_id = await flow.start()
    await engine_of(app).resume_by_name(instance_id, "flow")
    with pytest.raises(
        ValueError,
        match=r"^Workflow 'nobody' not found in workflow registry. Available workflows: \[.*'flow'",
    ):
        await engine_of(app).resume_by_name(instance_id, "nobody")


async def test_an_instance_that_does_not_match_its_code_heals_when_the_code_is_back(app: EddaApp) -> None:
    broken = False

    @activity
    async def renamed(ctx: WorkflowContext) -> None:
        calls.append("renamed")

    @workflow
    async def flow(ctx: WorkflowContext) -> str:
        if broken:
            await renamed(ctx, activity_id="step")
        else:
            await note(ctx, "a", activity_id="step")
        await sleep(ctx, 0.2)
        return "done"

    always_replay(app)
    instance_id = await flow.start()
    broken = True

    async def set_aside(times: int) -> None:
        row = await app.storage.load_instance(instance_id)
        assert row is not None
        assert row.attempts >= times
        assert row.status not in ("failed", "completed")

    await eventually(lambda: set_aside(1))
    broken = False

    assert await result_of(app, instance_id) == "done"
    assert calls == ["a"]
    assert [step for step, _ in await steps_of(app, instance_id)] == ["step", "sleep:1"]


async def test_an_instance_that_cannot_go_on_is_tried_again_with_growing_delay(app: EddaApp) -> None:
    shortened = False

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        if not shortened:
            await note(ctx, "a")
            await sleep(ctx, 3600)

    always_replay(app)
    instance_id = await flow.start()
    shortened = True
    delays = []
    for _ in range(3):
        with pytest.raises(NonDeterminismError):
            await flow.resume(instance_id)
        due = await app.storage.seconds_until_due(["flow"])
        assert due is not None
        delays.append(due)

    assert 0 < delays[0] <= 1 < delays[1] <= 2 < delays[2] <= 4


async def test_an_input_that_can_no_longer_be_read_sets_the_instance_aside(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await sleep(ctx, 3600)

    instance_id = await flow.start()
    always_replay(app)

    @workflow  # type: ignore[no-redef]
    async def flow(ctx: WorkflowContext, added: int) -> None: ...

    with pytest.raises(TypeError, match="added"):
        await flow.resume(instance_id)
    row = await app.storage.load_instance(instance_id)
    assert row is not None
    assert (row.output_data, row.attempts, row.locked_by) == (None, 1, None)


async def test_workflows_that_a_worker_does_not_know_are_left_alone(apps: Apps) -> None:
    @workflow
    async def stranger(ctx: WorkflowContext) -> None:
        await sleep(ctx, 0.5)

    @workflow
    async def known(ctx: WorkflowContext) -> str:
        await sleep(ctx, 0.1)
        return "done"

    first = await apps.start()
    foreign = await asyncio.gather(*(stranger.start() for _ in range(30)))
    await first.shutdown()
    del _registry["stranger"]
    second = await apps.start()

    async def all_are_due() -> None:
        assert await second.storage.seconds_until_due(["stranger"]) == 0

    await eventually(all_are_due)
    assert await result_of(second, await known.start()) == "done"
    for instance_id in foreign:
        row = await second.storage.load_instance(instance_id)
        assert row is not None
        assert (row.status, row.attempts, row.locked_by) == ("waiting_for_timer", 0, None)
