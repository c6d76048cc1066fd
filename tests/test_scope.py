"""Which activity code belongs to."""

from __future__ import annotations

import asyncio
from typing import Any

from edda import activity, workflow
from edda.app import EddaApp
from edda.context import WorkflowContext
from edda.scope import activity_scope
from tests.support.apps import result_of
from tests.support.eventually import eventually


async def test_code_of_an_activity_and_its_tasks_belong_to_it_and_the_body_to_none(app: EddaApp) -> None:
    def here(ctx: WorkflowContext) -> str | None:
        scope = activity_scope(ctx.run)
        return None if scope is None else scope.step_id

    @activity
    async def inner(ctx: WorkflowContext) -> str | None:
        return here(ctx)

    @activity
    async def outer(ctx: WorkflowContext) -> list[Any]:
        async def child() -> str | None:
            return here(ctx)

        return [here(ctx), await asyncio.create_task(child()), await inner(ctx), here(ctx)]

    @workflow
    async def flow(ctx: WorkflowContext) -> list[Any]:
        return [here(ctx), *await outer(ctx), here(ctx)]

    expected = [None, "outer:1", "outer:1", "outer:1/inner:1", "outer:1", None]
    assert await result_of(app, await flow.start()) == expected


async def test_a_workflow_started_in_an_activity_is_not_inside_it(app: EddaApp) -> None:
    seen: list[bool] = []

    @workflow
    async def other(ctx: WorkflowContext) -> None:
        seen.append(activity_scope(ctx.run) is None)

    @activity
    async def start(ctx: WorkflowContext) -> None:
        await other.start()

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await start(ctx)

    await flow.start()

    def check() -> None:
        assert seen == [True]

    await eventually(check)
