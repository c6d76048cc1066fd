"""Many starts at once: none fails, and nothing runs twice."""

from __future__ import annotations

import asyncio

from edda import WorkflowContext, workflow
from edda.app import EddaApp
from tests.support.apps import Apps, result_of
from tests.support.noting import calls, note


async def test_150_starts_at_once_each_run_their_activity_once(app: EddaApp) -> None:
    room = asyncio.Semaphore(50)

    @workflow
    async def flow(ctx: WorkflowContext, text: str) -> str:
        return await note(ctx, text)

    async def start(number: int) -> str:
        async with room:
            return await flow.start(text=str(number))

    ids = await asyncio.gather(*(start(number) for number in range(150)))

    assert sorted(calls, key=int) == [str(number) for number in range(150)]
    assert [await result_of(app, instance_id) for instance_id in ids] == [str(n) for n in range(150)]


async def test_20_first_starts_of_a_new_workflow_at_once_all_succeed(apps: Apps) -> None:
    both = [await apps.start(), await apps.start()]

    @workflow
    async def brand_new(ctx: WorkflowContext) -> str:
        return await note(ctx, "a")

    async def start(app: EddaApp) -> str:
        with app.activate():
            return await brand_new.start()

    ids = await asyncio.gather(*(start(both[number % 2]) for number in range(20)))

    assert [await result_of(both[0], instance_id) for instance_id in ids] == ["a"] * 20
    assert len(calls) == 20
