"""Renewing leases in time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from edda import WorkflowContext, activity, workflow
from tests.support.apps import Apps, reached
from tests.support.eventually import pause

calls: list[str] = []


@pytest.fixture(autouse=True)
def _forget_calls() -> None:
    calls.clear()


@pytest.mark.parametrize(
    "options", [{"leader_lease_duration": 1.5}, {}], ids=["short lease", "short lock timeout"]
)
async def test_a_run_that_is_longer_than_its_lease_keeps_it(apps: Apps, options: dict[str, Any]) -> None:
    first, second = await apps.start(**options), await apps.start(**options)

    @activity
    async def slow(ctx: WorkflowContext) -> None:
        calls.append(ctx.worker_id)
        await pause(1.7)

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await slow(ctx)

    with first.activate():
        instance_id = await flow.start(lock_timeout_seconds=1)

    await reached(second, instance_id)
    assert calls == [first.worker_id]


async def test_all_runs_of_a_worker_are_renewed_together(apps: Apps) -> None:
    app = await apps.start()
    go_on = asyncio.Event()

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        calls.append(ctx.instance_id)
        await go_on.wait()

    running = [asyncio.create_task(flow.start()) for _ in range(5)]
    worker = app._require_worker()
    while len(calls) < 5:
        await pause(0.01)
    assert len(worker.engine.leases) == 5
    assert await worker._leases.round() == app.settings.lease_seconds / 3
    go_on.set()
    await asyncio.gather(*running)
    assert len(worker.engine.leases) == 0
