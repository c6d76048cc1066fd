"""Activities that take every connection of the pool: the others wait, and nothing of it enters history."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import text

from edda import WorkflowContext, activity, receive, send_to, sleep, subscribe, workflow
from tests.support.apps import Apps, result_of
from tests.support.eventually import pause
from tests.support.rows import storage_of
from tests.support.writes import unleased

on_servers = pytest.mark.parametrize("empty_database_url", ["postgresql", "mysql"], indirect=True)
calls: list[str] = []
SMALL: dict[str, Any] = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 1}


@activity
async def keeps_a_connection(ctx: WorkflowContext, seconds: float) -> int:
    await ctx.session.execute(text("SELECT 1"))
    await pause(seconds)
    return 1


@workflow
async def keeping(ctx: WorkflowContext, seconds: float) -> int:
    first = await keeps_a_connection(ctx, seconds)
    await sleep(ctx, 0.01)
    return first + await keeps_a_connection(ctx, seconds)


@on_servers
async def test_activities_that_use_up_the_pool_wait_for_each_other(apps: Apps) -> None:
    """Longer than the pool lets anybody wait, also for reading what is due."""
    app = await apps.start(**SMALL)
    async with asyncio.timeout(60):
        instance_ids = await asyncio.gather(*(keeping.start(seconds=0.4) for _ in range(4)))
    for instance_id in instance_ids:
        assert await result_of(app, instance_id) == 2
        history = await app.storage.get_history(instance_id)
        assert [row["activity_id"] for row in history] == [
            "keeps_a_connection:1",
            "sleep:1",
            "keeps_a_connection:2",
        ]
        assert not [row for row in history if "retry_metadata" in str(row["event_data"])]


@activity
async def tells_itself(ctx: WorkflowContext) -> None:
    calls.append(ctx.instance_id)
    await ctx.session.execute(text("SELECT 1"))
    await send_to(ctx, ctx.instance_id, "news")


@workflow
async def telling(ctx: WorkflowContext) -> Any:
    await subscribe(ctx, "__direct__", "direct")
    await tells_itself(ctx)
    return (await receive(ctx, "__direct__")).data


@on_servers
async def test_an_activity_with_a_session_reads_without_another_connection_of_the_pool(apps: Apps) -> None:
    """It has the only one there is: in a pool that is used up all would wait for each other."""
    calls.clear()
    app = await apps.start(**SMALL)
    assert await result_of(app, await telling.start()) == "news"
    assert len(calls) == 1


@on_servers
async def test_the_writer_needs_no_connection_of_the_pool(apps: Apps) -> None:
    """Not to connect again either: those who have all of them may be waiting for it."""
    app = await apps.start(**SMALL)
    storage = storage_of(app)
    async with storage.engine.connect():
        assert storage._writer is not None
        await storage._writer._committer.reset()
        await storage.submit(unleased(workflow_name="nobody knows it"), within=60)
