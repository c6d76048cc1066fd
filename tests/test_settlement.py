"""How runs end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from edda import RetryPolicy, WorkflowContext, activity, sleep, workflow
from edda.app import EddaApp
from edda.exceptions import LockLostError, StorageUnavailableError
from edda.storage.writes import RunParked, StepRecorded, WaitsEnded
from tests.support.apps import Apps, instance, look_for_work, reached, steps_of, stop_claiming
from tests.support.eventually import eventually
from tests.support.rows import steal
from tests.support.statements import counted
from tests.support.writes import unleased


@dataclass(frozen=True)
class FrozenError(Exception):
    """An error that nothing can be added to."""

    text: str


@activity
async def note(ctx: WorkflowContext, text: str) -> str:
    return text


async def test_a_completion_is_one_commit_with_output_and_without_lease(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> dict[str, int]:
        await sleep(ctx, 0.01)
        await note(ctx, "a")
        return {"n": 1}

    instance_id = await flow.start()
    row = await reached(app, instance_id)
    stored = await app.storage.load_instance(instance_id)

    assert row["output_data"] == {"result": {"n": 1}}
    assert stored is not None
    assert (stored.locked_by, stored.locked_at, stored.due_at) == (None, None, None)
    assert await app.storage.load_waits(instance_id) == []


async def test_an_outage_is_not_counted_against_the_instances_that_it_stops(
    app: EddaApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They go on a second after it, however many there were before."""

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await note(ctx, "a")

    submit, away = app.storage.submit, True

    async def without_steps(write: Any, **options: Any) -> Any:
        if away and isinstance(write, StepRecorded):
            raise StorageUnavailableError("away")
        return await submit(write, **options)

    monkeypatch.setattr(app.storage, "submit", without_steps)
    await stop_claiming(app)
    new = unleased(workflow_name="flow")
    await submit(new)
    for _ in range(4):
        with pytest.raises(StorageUnavailableError):
            await flow.resume(new.instance_id)
        stopped = await app.storage.load_instance(new.instance_id)
        assert stopped is not None
        assert (stopped.attempts, stopped.last_error) == (0, "StorageUnavailableError: away")
        due = await app.storage.seconds_until_due(["flow"])
        assert due is not None
        assert due <= 1
    away = False
    await flow.resume(new.instance_id)
    await reached(app, new.instance_id)


async def test_a_failure_is_recorded_with_its_row_and_output(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        raise KeyError("missing")

    with pytest.raises(KeyError) as caught:
        await flow.start()

    instance_id = caught.value.instance_id  # type: ignore[attr-defined]
    row = await instance(app, instance_id)
    (step,) = await app.storage.get_history(instance_id)
    output: Any = row["output_data"]
    data: Any = step["event_data"]
    assert (row["status"], row["locked_by"]) == ("failed", None)
    assert set(output) == {"error_message", "error_type", "stack_trace"}
    assert (output["error_type"], output["error_message"]) == ("KeyError", "'missing'")
    assert "in flow" in output["stack_trace"]
    assert (step["activity_id"], step["event_type"]) == ("workflow_failed", "WorkflowFailed")
    assert {key: data[key] for key in output} == output
    assert (data["exception"]["type"], data["exception"]["args"]) == ("builtins:KeyError", ["missing"])


async def test_a_failure_is_one_commit(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await note(ctx, "a")
        raise OSError("no")

    with counted() as statements, pytest.raises(OSError, match="no"):
        await flow.start()
    assert statements.commits <= 3


async def test_a_result_that_cannot_be_stored_fails_the_workflow(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> object:
        return object()

    with pytest.raises(TypeError) as caught:
        await flow.start()
    await reached(app, caught.value.instance_id, "failed")  # type: ignore[attr-defined]
    assert "Workflow 'flow' returned a value that cannot be stored" in caught.value.__notes__


async def test_an_error_that_takes_no_attributes_is_raised_all_the_same(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        raise FrozenError("no")

    with pytest.raises(FrozenError) as caught:
        await flow.start()
    assert caught.value == FrozenError("no")


async def test_a_run_that_lost_its_lease_settles_nothing(apps: Apps) -> None:
    first, second = await apps.start(), await apps.start()
    runs: list[str] = []

    @workflow
    async def flow(ctx: WorkflowContext) -> str:
        runs.append(ctx.worker_id)
        if ctx.worker_id == first.worker_id:
            await _lose_to(second, ctx, first)
        return await note(ctx, ctx.worker_id)

    with first.activate(), pytest.raises(LockLostError) as caught:
        await flow.start()

    instance_id = caught.value.instance_id
    row = await instance(second, instance_id)
    assert runs == [first.worker_id, second.worker_id]
    assert row["output_data"] == {"result": second.worker_id}
    assert await steps_of(second, instance_id) == [("note:1", "ActivityCompleted")]


async def test_a_body_cannot_swallow_the_loss_of_its_lease(apps: Apps) -> None:
    first, second = await apps.start(), await apps.start()

    @workflow
    async def flow(ctx: WorkflowContext) -> str:
        if ctx.worker_id == second.worker_id:
            return "second"
        await _lose_to(second, ctx, first)
        try:
            await note(ctx, "late")
        except Exception:  # noqa: BLE001 - what users write
            return "swallowed"
        return "unfenced"

    with first.activate(), pytest.raises(LockLostError, match=r"^Lock lost for instance flow-") as caught:
        await flow.start()
    assert (await instance(second, caught.value.instance_id))["output_data"] == {"result": "second"}


async def _lose_to(other: EddaApp, ctx: WorkflowContext, app: EddaApp) -> None:
    """Let the worker neither renew its leases nor take up anything, and the other one end the instance."""
    worker = app._require_worker()
    await worker._leases.stop()
    await worker._due.stop()
    await steal(app, ctx.instance_id)
    look_for_work(other)
    await reached(other, ctx.instance_id)


async def test_an_activity_that_sleeps_in_a_later_attempt_is_not_woken_before_its_time(app: EddaApp) -> None:
    attempts: list[int] = []

    @activity(retry_policy=RetryPolicy(initial_interval=0.01))
    async def late_sleeper(ctx: WorkflowContext) -> None:
        attempts.append(1)
        if len(attempts) == 1:
            raise OSError
        await sleep(ctx, 3600)

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await late_sleeper(ctx)

    async def quiet() -> None:
        record = await app.storage.load_instance(instance_id)
        assert record is not None
        assert record.due_at is not None
        assert (record.due_at - record.started_at).total_seconds() > 60

    instance_id = await flow.start()
    await eventually(quiet)
    assert len(await app.storage.load_waits(instance_id)) == 2


async def test_a_run_that_finds_its_lease_lost_while_it_parks_writes_no_more(
    app: EddaApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit, written = app.storage.submit, []

    async def lose_the_lease_first(write: Any, **options: Any) -> Any:
        written.append(type(write))
        if isinstance(write, WaitsEnded):
            await steal(app, write.lease.instance_id)
        return await submit(write, **options)

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        given_up = asyncio.create_task(sleep(ctx, 60))
        await note(ctx, "a")
        given_up.cancel()
        await sleep(ctx, 3600)

    monkeypatch.setattr(app.storage, "submit", lose_the_lease_first)
    with pytest.raises(LockLostError):
        await flow.start()
    assert WaitsEnded in written
    assert RunParked not in written
