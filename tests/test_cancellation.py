"""Cancelling instances that run, wait, end, or are asked twice."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from edda import (
    RetryPolicy,
    WorkflowContext,
    activity,
    gather,
    on_failure,
    register_compensation,
    sleep,
    workflow,
)
from edda.app import EddaApp
from edda.attempts import PARK_FROM_SECONDS
from edda.cancellation import PATIENCE_SECONDS
from edda.exceptions import WorkflowCancelledException
from tests.support.apps import Apps, always_replay, engine_of, instance, steps_of
from tests.support.asgi import request
from tests.support.eventually import eventually
from tests.support.rows import create_tables, put, rows
from tests.support.sagas import Recorder
from tests.support.statements import counted
from tests.support.trips import cancel, do, entered, held, held_at, note, told, trip, undo

# -- an instance that waits ----------------------------------------------------------------------


@pytest.mark.parametrize("replays", [True, False])
async def test_a_waiting_instance_is_undone_and_ended_when_the_call_returns(
    apps: Apps, replays: bool
) -> None:
    recorder = Recorder()
    app = await apps.start(hooks=recorder)

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await do(ctx, "flight")
        try:
            await sleep(ctx, 100)
        except Exception:  # noqa: BLE001 - as users do
            entered.append("the body is not asked")

    if replays:
        always_replay(app)
    instance_id = await flow.start()
    assert await cancel(app, instance_id, by="support")
    row = await instance(app, instance_id)
    output: Any = row["output_data"]
    assert (row["status"], row["locked_by"]) == ("cancelled", None)
    assert (output["cancelled_by"], output["previous_status"]) == ("support", "waiting_for_timer")
    assert output["cancelled_at"].endswith("+00:00")
    assert entered == ["flight", "undo flight"]
    assert await steps_of(app, instance_id) == [
        ("do:1", "ActivityCompleted"),
        ("workflow_cancelled", "WorkflowCancelled"),
        ("compensation_1", "CompensationExecuted"),
    ]
    assert await app.storage.load_waits(instance_id) == []
    assert await app.storage.seconds_until_due(["flow"]) is None
    assert recorder.calls[-1] == ("on_workflow_cancelled", "flow")
    assert engine_of(app).resident == 0
    with pytest.raises(ValueError, match="Cannot resume cancelled workflow"):
        await flow.resume(instance_id)


async def test_with_nothing_to_undo_it_ends_in_one_write_more(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await sleep(ctx, 100)

    first, second = await flow.start(), await flow.start()
    await cancel(app, first)
    with counted() as seen:
        assert await cancel(app, second)
    assert seen.commits == 2
    assert seen.containing("status='compensating'") == []
    assert (await instance(app, second))["status"] == "cancelled"


async def test_over_http_it_is_the_api_user_who_cancels(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await sleep(ctx, 100)

    instance_id = await flow.start()
    response = await request(app, "POST", f"/cancel/{instance_id}")
    assert (response.status, response.json()["instance_id"]) == (200, instance_id)
    output: Any = (await instance(app, instance_id))["output_data"]
    assert output["cancelled_by"] == "api_user"
    for gone in (instance_id, "flow-unknown"):
        assert (await request(app, "POST", f"/cancel/{gone}")).status == 400


# -- an instance that runs -----------------------------------------------------------------------


async def test_the_activity_in_flight_is_recorded_and_undone(app: EddaApp) -> None:
    instance_id, start = await held_at(app, "hotel", trip.start)
    cancelling = asyncio.create_task(cancel(app, instance_id))
    await told(app, instance_id)
    held["hotel"].set()
    assert await cancelling
    assert await start == instance_id
    assert entered == ["flight", "hotel", "undo hotel", "undo flight"]
    row = await instance(app, instance_id)
    assert row["status"] == "cancelled"
    assert [step_id for step_id, _ in await steps_of(app, instance_id)] == [
        "do:1",
        "workflow_cancelled",
        "do:2",
        "compensation_2",
        "compensation_1",
    ]


async def test_the_rows_of_its_session_are_committed_before_it_is_undone(app: EddaApp) -> None:
    await create_tables(app)

    async def remove(ctx: WorkflowContext) -> None:
        await put(ctx, "undone")

    @activity
    @on_failure(remove)
    async def insert(ctx: WorkflowContext) -> None:
        await put(ctx, "row")
        await do(ctx, "inside")
        await register_compensation(ctx, undo, "registered")
        await note("insert")

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await insert(ctx)

    instance_id, start = await held_at(app, "insert", flow.start)
    cancelling = asyncio.create_task(cancel(app, instance_id))
    if "sqlite" not in app.db_url:  # there the open transaction of the activity keeps the request waiting
        await told(app, instance_id)
    held["insert"].set()
    assert await cancelling == (await start == instance_id)
    assert await rows(app) == ["row", "undone"]
    assert entered == ["inside", "insert", "undo registered", "undo inside"]


async def test_steps_inside_a_running_activity_go_on(app: EddaApp) -> None:
    @activity
    async def outer(ctx: WorkflowContext) -> None:
        await note("outer")
        await do(ctx, "inside")

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await outer(ctx)

    instance_id, _ = await held_at(app, "outer", flow.start)
    cancelling = asyncio.create_task(cancel(app, instance_id))
    await told(app, instance_id)
    held["outer"].set()
    assert await cancelling
    assert entered == ["outer", "inside", "undo inside"]
    assert ("outer:1", "ActivityCompleted") in await steps_of(app, instance_id)


@pytest.mark.parametrize("interval", [PARK_FROM_SECONDS - 0.1, 30.0])
async def test_an_activity_between_attempts_makes_no_further_one(app: EddaApp, interval: float) -> None:
    @activity(retry_policy=RetryPolicy(initial_interval=interval, max_attempts=5))
    @on_failure(undo)
    async def fragile(ctx: WorkflowContext, name: str) -> None:
        entered.append(name)
        raise OSError("again")

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await gather(fragile(ctx, "attempt"), do(ctx, "beside"))

    instance_id, _ = await held_at(app, "beside", flow.start)
    cancelling = asyncio.create_task(cancel(app, instance_id))
    await told(app, instance_id)
    held["beside"].set()
    assert await cancelling
    assert entered == ["attempt", "beside", "undo beside"]
    assert (await instance(app, instance_id))["status"] == "cancelled"


async def test_a_body_that_swallows_it_ends_cancelled_all_the_same(app: EddaApp) -> None:
    errors: list[str] = []

    @workflow
    async def flow(ctx: WorkflowContext) -> str:
        for name in ("flight", "never", "never"):
            try:
                await do(ctx, name)
            except WorkflowCancelledException as error:
                errors.append(str(error))
        try:
            async with ctx.transaction():
                entered.append("never in a block")
        except WorkflowCancelledException as error:
            errors.append(str(error))
        return "ok"

    instance_id, start = await held_at(app, "flight", flow.start)
    cancelling = asyncio.create_task(cancel(app, instance_id))
    await told(app, instance_id)
    held["flight"].set()
    assert await cancelling
    assert await start == instance_id
    assert entered == ["flight", "undo flight"]
    gone = f"Workflow {instance_id} has been cancelled"
    assert errors == [f"Workflow {instance_id} was cancelled during do execution", gone, gone, gone]
    row = await instance(app, instance_id)
    assert row["status"] == "cancelled"


async def test_a_body_that_swallows_it_for_ever_is_left_alone(
    app: EddaApp, caplog: pytest.LogCaptureFixture
) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        while True:
            try:
                await do(ctx, "flight", activity_id=None)
            except Exception:  # noqa: BLE001 - as users do
                entered.append("swallowed")

    instance_id, _ = await held_at(app, "flight", flow.start)
    cancelling = asyncio.create_task(cancel(app, instance_id))
    await told(app, instance_id)
    held["flight"].set()
    assert await cancelling
    assert (await instance(app, instance_id))["status"] == "cancelled"
    assert "is left alone" in caplog.text


async def test_an_error_of_the_body_after_the_request_does_not_fail_it(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        try:
            await do(ctx, "flight")
        except WorkflowCancelledException as error:
            raise KeyError("another") from error

    instance_id, start = await held_at(app, "flight", flow.start)
    cancelling = asyncio.create_task(cancel(app, instance_id))
    await told(app, instance_id)
    held["flight"].set()
    assert await cancelling
    assert await start == instance_id
    assert (await instance(app, instance_id))["status"] == "cancelled"


async def test_a_branch_that_waits_is_over_at_once(app: EddaApp) -> None:
    seen: list[str] = []

    async def waits(ctx: WorkflowContext) -> None:
        try:
            await sleep(ctx, 100)
        except WorkflowCancelledException:
            seen.append("told")
            raise

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await asyncio.gather(waits(ctx), do(ctx, "beside"))

    instance_id, _ = await held_at(app, "beside", flow.start)
    cancelling = asyncio.create_task(cancel(app, instance_id))
    await told(app, instance_id)

    def check() -> None:
        assert seen == ["told"]

    await eventually(check)
    held["beside"].set()
    assert await cancelling
    assert entered == ["beside", "undo beside"]


async def test_the_call_does_not_wait_for_ever(app: EddaApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edda.cancellation.PATIENCE_SECONDS", 0.05)
    assert PATIENCE_SECONDS == 5.0
    instance_id, start = await held_at(app, "flight", trip.start)
    assert await cancel(app, instance_id)
    assert (await instance(app, instance_id))["status"] == "running"
    held["flight"].set()
    assert await start == instance_id
    assert entered == ["flight", "undo flight"]


async def test_a_workflow_that_cancels_itself_does_not_wait_for_its_own_end(
    app: EddaApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edda.cancellation.PATIENCE_SECONDS", 3600)

    @activity
    async def give_up(ctx: WorkflowContext) -> bool:
        return await cancel(app, ctx.instance_id, by="itself")

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await do(ctx, "flight")
        await give_up(ctx)

    instance_id = await flow.start()
    assert (await instance(app, instance_id))["status"] == "cancelled"
    assert entered == ["flight", "undo flight"]


# -- activities that have asked to be interrupted --------------------------------------------------


async def test_a_cancellable_activity_is_interrupted_and_not_recorded(app: EddaApp) -> None:
    @activity(cancellable=True)
    @on_failure(undo)
    async def download(ctx: WorkflowContext, name: str) -> None:
        try:
            await note(name)
        except asyncio.CancelledError:
            entered.append("interrupted")
            raise

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await do(ctx, "flight")
        await download(ctx, "film")

    instance_id, start = await held_at(app, "film", flow.start)
    assert await cancel(app, instance_id)
    assert await start == instance_id
    assert entered == ["flight", "film", "interrupted", "undo flight"]
    assert (await instance(app, instance_id))["status"] == "cancelled"


async def test_its_own_timeout_is_still_a_failure(app: EddaApp) -> None:
    @activity(cancellable=True, timeout_seconds=0.01, retry_policy=RetryPolicy(max_attempts=1))
    async def slow(ctx: WorkflowContext) -> None:
        await asyncio.Event().wait()

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await slow(ctx)

    with pytest.raises(Exception, match="failed after 1 attempts"):
        await flow.start()


def test_a_sync_activity_cannot_be_cancellable() -> None:
    def copy(ctx: WorkflowContext) -> None: ...

    with pytest.raises(ValueError, match=r"copy\(\) runs in a thread"):
        activity(cancellable=True)(copy)
