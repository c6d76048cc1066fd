"""What an initialised app consists of."""

from __future__ import annotations

import asyncio
import threading

import pytest

from edda import RetryPolicy, WorkflowContext, activity, workflow
from edda.exceptions import ShuttingDownError, StorageError
from tests.support.apps import Apps, engine_of, instance, result_of
from tests.support.eventually import PATIENCE, until


async def test_the_lease_length_follows_from_the_options(apps: Apps) -> None:
    app = await apps.start(leader_lease_duration=6)
    locked: list[float] = []

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        locked.append(engine_of(app).leases.shortest(0))

    await flow.start()
    await flow.start(lock_timeout_seconds=3)
    assert locked == [4, 3]


async def test_the_default_policy_is_that_of_the_options(apps: Apps) -> None:
    policy = RetryPolicy(max_attempts=1)
    app = await apps.start(default_retry_policy=policy)
    assert app._require_worker().engine._services.default_retry_policy is policy


async def test_when_a_worker_has_stopped_no_loop_and_no_connection_is_left(apps: Apps) -> None:
    app = await apps.start()
    worker = app._require_worker()
    await app.shutdown()
    assert (worker._due._task, worker._leases._task) == (None, None)
    with pytest.raises(StorageError):
        await app.storage.submit(None)  # type: ignore[arg-type]


async def test_a_draining_engine_refuses_new_work(apps: Apps) -> None:
    app = await apps.start()
    engine = engine_of(app)

    @workflow
    async def flow(ctx: WorkflowContext) -> None: ...

    await app.shutdown()
    with pytest.raises(ShuttingDownError, match=r"^EddaApp is shutting down$"):
        await engine.start(flow, {}, None)


async def test_a_thread_that_does_not_end_does_not_hold_up_the_stop(apps: Apps) -> None:
    app = apps.make()
    app.drain_seconds = 0.05
    await app.initialize()
    begun, release = threading.Event(), threading.Event()

    @activity
    def stuck(ctx: WorkflowContext) -> str:
        begun.set()
        release.wait(30)
        return "done"

    @workflow
    async def flow(ctx: WorkflowContext) -> str:
        return await stuck(ctx)

    running = asyncio.create_task(flow.start())
    await until(begun.is_set)
    try:
        async with asyncio.timeout(PATIENCE):
            await app.shutdown()
        with pytest.raises(ShuttingDownError) as caught:
            await running
    finally:
        release.set()
    other = await apps.start()
    assert caught.value.instance_id is not None
    assert await result_of(other, caught.value.instance_id) == "done"
    assert (await instance(other, caught.value.instance_id))["locked_by"] is None
