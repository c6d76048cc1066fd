"""What a step costs: one row in a shared commit, and no read."""

from __future__ import annotations

import asyncio

from edda import WorkflowContext, activity, workflow
from edda.app import EddaApp
from tests.support.apps import steps_of
from tests.support.statements import counted


@activity
async def add(ctx: WorkflowContext, number: int) -> int:
    return number + 1


@workflow
async def adding(ctx: WorkflowContext, steps: int) -> int:
    total = 0
    for _ in range(steps):
        total = await add(ctx, total)
    return total


async def test_a_workflow_alone_costs_one_commit_for_each_step_and_three_more(app: EddaApp) -> None:
    steps = 10
    with counted() as statements:
        instance_id = await adding.start(steps=steps)

    assert len(await steps_of(app, instance_id)) == steps
    assert statements.commits <= steps + 3
    assert len(statements.texts) <= 2 * steps + 8, "\n".join(statements.texts)


async def test_a_step_reads_nothing(app: EddaApp) -> None:
    async def reads(steps: int) -> int:
        with counted() as statements:
            await adding.start(steps=steps)
        # The search for due instances runs at its own pace beside the workflow.
        return sum(text.upper().startswith("SELECT") and "due_at" not in text for text in statements.texts)

    await adding.start(steps=1)
    assert await reads(1) == await reads(30)


async def test_an_empty_workflow_costs_two_commits(app: EddaApp) -> None:
    await adding.start(steps=0)
    with counted() as statements:
        await adding.start(steps=0)
    assert statements.commits <= 2


async def test_workflows_side_by_side_share_their_commits(app: EddaApp) -> None:
    steps = 10
    with counted() as statements:
        await asyncio.gather(*(adding.start(steps=steps) for _ in range(100)))

    assert statements.commits <= 100 * steps / 10
    assert len(statements.texts) <= 100 * steps / 4
