"""The time between attempts: under the lease or parked, here or in another worker."""

from __future__ import annotations

import asyncio

import pytest

from edda import RetryPolicy, WorkflowContext, activity, workflow
from edda.app import EddaApp
from edda.attempts import PARK_FROM_SECONDS
from edda.exceptions import ShuttingDownError
from tests.support.apps import Apps, engine_of, instance, result_of, stop_claiming
from tests.support.attempts import Failing, only_step
from tests.support.eventually import eventually


async def test_a_long_back_off_parks_the_workflow(app: EddaApp) -> None:
    @activity(retry_policy=RetryPolicy(initial_interval=PARK_FROM_SECONDS))
    async def broken(ctx: WorkflowContext) -> None:
        raise OSError("no")

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await broken(ctx)

    row = await instance(app, await flow.start())

    assert (row["status"], row["current_activity_id"]) == ("waiting_for_timer", "broken:1")
    assert row["locked_by"] is None


async def test_a_short_back_off_keeps_the_lease(app: EddaApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edda.attempts.PARK_FROM_SECONDS", 3601)

    @activity(retry_policy=RetryPolicy(initial_interval=3600, max_interval=3600))
    async def broken(ctx: WorkflowContext) -> None:
        raise OSError("no")

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await broken(ctx)

    running = asyncio.create_task(flow.start())

    async def backing_off() -> None:
        (execution,) = engine_of(app)._running.values()
        assert execution.run.waits.pending

    await eventually(backing_off, retry_on=(AssertionError, ValueError))
    assert engine_of(app).resident == 0
    await app.shutdown()
    with pytest.raises(ShuttingDownError):
        await running


async def test_attempts_go_on_where_they_were_after_a_restart(apps: Apps) -> None:
    attempt = Failing(2)

    @activity(retry_policy=RetryPolicy(initial_interval=0.6, backoff_coefficient=1, max_attempts=3))
    async def flaky(ctx: WorkflowContext) -> str:
        if len(attempt.called_at) == 2 and ctx.worker_id == first.worker_id:  # on a slow machine
            await asyncio.Event().wait()
        return attempt()

    @workflow
    async def flow(ctx: WorkflowContext) -> str:
        return await flaky(ctx)

    first = await apps.start()
    first.drain_seconds = 0.05
    interrupted = asyncio.create_task(flow.start())
    await eventually(lambda: _assert(len(attempt.called_at) == 2))
    await first.shutdown()
    with pytest.raises(RuntimeError, match="EddaApp is shutting down") as caught:
        await interrupted
    second = await apps.start()
    instance_id = caught.value.instance_id  # type: ignore[attr-defined]

    assert await result_of(second, instance_id) == "done"
    metadata = (await only_step(second, instance_id))[1]["retry_metadata"]
    assert len(attempt.called_at) == 3
    assert metadata["total_attempts"] == 3
    assert [error["attempt"] for error in metadata["errors"]] == [1, 2]
    assert attempt.called_at[2] - attempt.called_at[1] >= 0.6


async def test_a_long_back_off_keeps_its_schedule_over_a_restart(
    apps: Apps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody but the second worker takes up what is due."""
    monkeypatch.setattr("edda.attempts.PARK_FROM_SECONDS", 0.1)
    attempt = Failing(1)

    @activity(retry_policy=RetryPolicy(initial_interval=0.6, max_attempts=2))
    async def flaky(ctx: WorkflowContext) -> str:
        return attempt()

    @workflow
    async def flow(ctx: WorkflowContext) -> str:
        return await flaky(ctx)

    first = await apps.start()
    await stop_claiming(first)
    instance_id = await flow.start()
    assert (await instance(first, instance_id))["status"] == "waiting_for_timer"
    await first.shutdown()
    second = await apps.start()

    assert await result_of(second, instance_id) == "done"
    assert attempt.called_at[1] - attempt.called_at[0] >= 0.6


def _assert(condition: bool) -> None:
    assert condition
