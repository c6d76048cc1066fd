"""What a step costs: one row in a shared commit, and no read."""

from __future__ import annotations

import asyncio
from unittest.mock import patch

import pytest
from sqlalchemy import make_url

from edda import WorkflowContext, activity, sleep, workflow
from edda.app import EddaApp
from edda.execution import Execution
from tests.support.apps import always_replay, steps_of
from tests.support.databases import Databases, ServerKind
from tests.support.eventually import eventually
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


@workflow
async def adding_and_waiting(ctx: WorkflowContext, steps: int) -> None:
    for number in range(steps):
        await add(ctx, number)
    await sleep(ctx, 3600)


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


@pytest.mark.parametrize("empty_database_url", ["sqlite"], indirect=True)
async def test_the_driver_of_a_run_sleeps_while_its_body_goes_on(app: EddaApp) -> None:
    """Neither a step nor its replay wakes it: it has nothing to decide until the body waits or ends."""
    always_replay(app)
    with patch.object(
        Execution, "_until_changed", autospec=True, side_effect=Execution._until_changed
    ) as sleeps:
        instance_id = await adding_and_waiting.start(steps=20)
        await adding_and_waiting.resume(instance_id)
    assert sleeps.call_count <= 6


async def test_an_empty_workflow_costs_two_commits(app: EddaApp) -> None:
    await adding.start(steps=0)
    with counted() as statements:
        await adding.start(steps=0)
    assert statements.commits <= 2


@pytest.mark.parametrize(
    ("empty_database_url", "connections"), [("postgresql", 3), ("mysql", 2)], indirect=["empty_database_url"]
)
async def test_an_idle_worker_has_few_connections(
    app: EddaApp, databases: Databases, empty_database_url: str, connections: int
) -> None:
    """One that writes, one for reading, and where the database notifies one that listens."""
    kind: ServerKind = "postgresql" if connections == 3 else "mysql"
    server = await databases.shared_server(kind)
    await adding.start(steps=3)

    async def check() -> None:
        assert await server.count_connections(make_url(empty_database_url).database or "") == connections

    await eventually(check)


async def test_workflows_side_by_side_share_their_commits(app: EddaApp) -> None:
    steps = 10
    with counted() as statements:
        await asyncio.gather(*(adding.start(steps=steps) for _ in range(100)))

    assert statements.commits <= 100 * steps / 10
    assert len(statements.texts) <= 100 * steps / 4
