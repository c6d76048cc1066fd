"""Renewing leases in time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import update

from edda import WorkflowContext, clock, workflow
from edda.storage.models import workflow_instances
from tests.support.apps import Apps, go_on_claiming, reached, stop_claiming
from tests.support.eventually import eventually, until
from tests.support.writes import unleased

calls: list[str] = []


@pytest.fixture(autouse=True)
def _forget_calls() -> None:
    calls.clear()


@pytest.mark.parametrize(
    ("lock_timeout", "length"), [(3600.0, 2000.0), (150.0, 150.0)], ids=["usual lease", "short lock timeout"]
)
async def test_the_lease_of_a_run_is_extended_each_third_of_its_length(
    apps: Apps, lock_timeout: float, length: float
) -> None:
    """How long a real run keeps it is shown with processes, in ``tests/acceptance``."""
    app = await apps.start(leader_lease_duration=3000)
    loop, go_on = app._require_worker()._leases, asyncio.Event()

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        calls.append(ctx.instance_id)
        await go_on.wait()

    running = asyncio.create_task(flow.start(lock_timeout_seconds=lock_timeout))
    await until(lambda: bool(calls))
    latest = clock.monotonic() + length / 3
    await until(lambda: loop._next_at <= latest)
    before = await app.storage.load_instance(calls[0])
    loop.wake()

    async def extended() -> None:
        now = await app.storage.load_instance(calls[0])
        assert now is not None
        assert before is not None
        assert now.due_at is not None
        assert before.due_at is not None
        assert now.due_at > before.due_at
        assert now.locked_by == app.worker_id

    await eventually(extended)
    go_on.set()
    await running


async def test_all_runs_of_a_worker_are_renewed_together(apps: Apps) -> None:
    app = await apps.start()
    go_on = asyncio.Event()

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        calls.append(ctx.instance_id)
        await go_on.wait()

    running = [asyncio.create_task(flow.start()) for _ in range(5)]
    worker = app._require_worker()
    await until(lambda: len(calls) == 5)
    assert len(worker.engine.leases) == 5
    assert await worker._leases.round() == app.settings.lease_seconds / 3
    go_on.set()
    await asyncio.gather(*running)
    assert len(worker.engine.leases) == 0


@pytest.mark.parametrize("status", ["waiting_for_timer", "compensating"])
async def test_the_lease_of_a_run_that_is_still_being_loaded_is_renewed(
    apps: Apps, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    """Else a history that takes longer to read than a lease lasts would never be read."""

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        calls.append(ctx.instance_id)

    app = await apps.start(leader_lease_duration=3000)
    worker, go_on = app._require_worker(), asyncio.Event()
    of_run, of_rollback = app.storage.load_run, app.storage.load_history

    async def slow_run(*key: str) -> Any:
        await go_on.wait()
        return await of_run(*key)

    async def slow_history(instance_id: str) -> Any:
        await go_on.wait()
        return await of_rollback(instance_id)

    monkeypatch.setattr(app.storage, "load_run", slow_run)
    monkeypatch.setattr(app.storage, "load_history", slow_history)
    new = unleased(workflow_name="flow")
    await stop_claiming(app)
    await app.storage.submit(new)
    storage: Any = app.storage
    async with storage.engine.begin() as connection:
        await connection.execute(update(workflow_instances).values(status=status))
    go_on_claiming(app)
    await until(lambda: len(worker.engine.leases) == 1)
    before = await app.storage.load_instance(new.instance_id)
    assert await worker.engine.leases.renew() == 1
    after = await app.storage.load_instance(new.instance_id)
    assert before is not None
    assert after is not None
    assert before.due_at is not None
    assert after.due_at is not None
    assert after.due_at > before.due_at
    go_on.set()
    await until(lambda: len(worker.engine.leases) == 0)
    if status == "waiting_for_timer":
        await reached(app, new.instance_id)
