"""Leases and bodies that change hands: parked runs that move on, settlement, shutdown."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from edda import RetryPolicy, WorkflowContext, activity, sleep, workflow
from edda.app import EddaApp
from edda.exceptions import ShuttingDownError, StorageError
from edda.storage.writes import InstanceClaimed
from tests.support.apps import Apps, engine_of, go_on_claiming, instance, result_of, stop_claiming
from tests.support.eventually import until
from tests.support.noting import calls, note


async def test_a_body_that_ends_while_it_is_parked_is_settled_at_once(app: EddaApp) -> None:
    limits: list[asyncio.Timeout] = []

    @workflow
    async def impatient(ctx: WorkflowContext) -> str:
        try:
            async with asyncio.timeout(None) as limit:
                limits.append(limit)
                await sleep(ctx, 3600)
        except TimeoutError:
            return "went on"
        return "waited"

    instance_id = await impatient.start()

    assert (await instance(app, instance_id))["status"] == "waiting_for_timer"
    limits[0].reschedule(asyncio.get_running_loop().time())
    assert await result_of(app, instance_id) == "went on"


async def test_a_step_cancelled_while_its_parked_run_takes_the_lease_again_leaves_no_lease_behind(
    app: EddaApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, claimed, cancelled = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @workflow
    async def mover(ctx: WorkflowContext) -> str:
        sleeper = asyncio.create_task(sleep(ctx, 3600))
        await go.wait()
        step = asyncio.create_task(note(ctx, "given up"))
        await claimed.wait()
        step.cancel()
        await asyncio.wait({step})
        cancelled.set()
        text = await note(ctx, "went on")
        sleeper.cancel()
        return text

    instance_id = await mover.start()
    submit = app.storage.submit

    async def submit_slowly(write: Any, **options: Any) -> Any:
        answer = await submit(write, **options)
        if isinstance(write, InstanceClaimed):
            claimed.set()
            await cancelled.wait()
        return answer

    monkeypatch.setattr(app.storage, "submit", submit_slowly)
    go.set()

    assert await result_of(app, instance_id) == "went on"
    assert calls == ["went on"]


async def test_a_run_that_is_being_settled_is_not_renewed_any_more(apps: Apps) -> None:
    class Observer:
        held: int | None = None

        async def on_workflow_complete(self, *_: object) -> None:
            self.held = len(engine_of(app).leases)

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await note(ctx, "a")

    observer = Observer()
    app = await apps.start(hooks=observer)
    await flow.start()

    assert observer.held == 0


async def test_a_parked_run_whose_waits_cannot_be_read_is_ended_and_replayed(
    app: EddaApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[str] = []

    @workflow
    async def flow(ctx: WorkflowContext) -> str:
        try:
            await sleep(ctx, 0.2)
        except BaseException as signal:
            ended.append(type(signal).__name__)
            raise
        return "done"

    await stop_claiming(app)
    instance_id = await flow.start()
    load_waits = app.storage.load_waits

    async def fail_once(instance_id: str) -> Any:
        monkeypatch.setattr(app.storage, "load_waits", load_waits)
        raise StorageError("away")

    monkeypatch.setattr(app.storage, "load_waits", fail_once)
    go_on_claiming(app)

    assert await result_of(app, instance_id) == "done"
    assert ended == ["WorkflowSuspended"]


async def test_an_activity_that_starts_a_workflow_during_the_shutdown_has_not_failed(apps: Apps) -> None:
    begun, stopping = asyncio.Event(), asyncio.Event()

    @workflow
    async def other(ctx: WorkflowContext) -> None:
        await note(ctx, "other")

    @activity(retry_policy=RetryPolicy(max_attempts=1))
    async def start_other(ctx: WorkflowContext) -> None:
        begun.set()
        await stopping.wait()
        await other.start()

    @workflow
    async def flow(ctx: WorkflowContext) -> str:
        await start_other(ctx)
        return "done"

    app = await apps.start()
    engine = engine_of(app)
    run = asyncio.create_task(flow.start())
    await begun.wait()
    stop = asyncio.create_task(app.shutdown())
    await until(lambda: engine._draining)
    stopping.set()
    await stop
    with pytest.raises(ShuttingDownError) as stopped:
        await run
    assert stopped.value.instance_id is not None
    await app.initialize()

    assert await result_of(app, stopped.value.instance_id) == "done"
