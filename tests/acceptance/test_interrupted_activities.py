"""Activities that are interrupted, too large, or in each other's way."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import text

from edda import RetryPolicy, TerminalError, WorkflowContext, activity, workflow
from edda.app import EddaApp
from edda.exceptions import PayloadTooLargeError, ShuttingDownError
from edda.storage import committers
from tests.support.apps import Apps, instance, reached, result_of, steps_of
from tests.support.eventually import eventually

began = asyncio.Event()
may_end = asyncio.Event()
calls: list[str] = []


@activity
async def make_table(ctx: WorkflowContext) -> None:
    await ctx.session.execute(text("DROP TABLE IF EXISTS kept"))
    await ctx.session.execute(text("CREATE TABLE kept (name VARCHAR(20))"))


@activity
async def keep(ctx: WorkflowContext, name: str) -> str:
    calls.append(name)
    await ctx.session.execute(text("INSERT INTO kept VALUES (:name)"), {"name": name})
    began.set()
    await may_end.wait()
    return name


@activity
async def count(ctx: WorkflowContext) -> int:
    found: int = (await ctx.session.execute(text("SELECT count(*) FROM kept"))).scalar_one()
    return found


@workflow
async def keeper(ctx: WorkflowContext, name: str) -> int:
    await make_table(ctx)
    await keep(ctx, name)
    return await count(ctx)


@pytest.fixture(autouse=True)
def _fresh() -> None:
    began.clear()
    may_end.clear()
    calls.clear()


async def test_a_caller_that_gives_up_leaves_the_activity_and_its_transaction_alone(app: EddaApp) -> None:
    caller = asyncio.create_task(keeper.start(name="a"))
    await began.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    may_end.set()
    [running] = await _instances_of(app)

    assert await result_of(app, running) == 1
    assert calls == ["a"]


async def test_a_stop_in_the_middle_undoes_the_attempt_and_the_instance_goes_on_later(apps: Apps) -> None:
    app = apps.make()
    app.drain_seconds = 0.1
    await app.initialize()
    starting = asyncio.create_task(keeper.start(name="b"))
    await began.wait()
    await app.shutdown()
    with pytest.raises(ShuttingDownError, match="EddaApp is shutting down") as stopped:
        await starting
    instance_id = stopped.value.instance_id
    assert instance_id is not None
    may_end.set()
    await app.initialize()

    assert await result_of(app, instance_id) == 1
    assert calls == ["b", "b"]


async def _instances_of(app: EddaApp) -> list[str]:
    async def check() -> list[str]:
        storage: Any = app.storage
        async with storage.engine.connect() as connection:
            found = await connection.execute(text("SELECT instance_id FROM workflow_instances"))
        ids = list(found.scalars())
        assert ids
        return ids

    return await eventually(check)


async def test_what_is_over_the_limit_is_a_clear_error_before_anything_is_written(apps: Apps) -> None:
    app = apps.make()
    app.max_payload_bytes = 1000
    await app.initialize()
    ran: list[int] = []

    @activity(retry_policy=RetryPolicy(initial_interval=0.01))
    async def swell(ctx: WorkflowContext, size: int, padding: str = "") -> str:
        ran.append(size)
        return "x" * size

    @workflow
    async def flow(ctx: WorkflowContext, padding: str = "") -> list[str]:
        texts = []
        try:
            await swell(ctx, 1, "y" * 2000)
        except PayloadTooLargeError as error:
            texts.append(str(error))
        try:
            await swell(ctx, 2000)
        except TerminalError as error:
            texts.append(str(error))
        return texts

    @workflow
    async def large_result(ctx: WorkflowContext) -> str:
        return "z" * 2000

    with pytest.raises(PayloadTooLargeError, match="the input of 'flow'"):
        await flow.start(padding="p" * 2000)
    instance_id = await flow.start()
    arguments, result = await result_of(app, instance_id)
    with pytest.raises(PayloadTooLargeError, match="the result of 'large_result'") as failed:
        await large_result.start()

    assert "the arguments of 'swell:1': 2" in arguments
    assert "are more than the limit of 1000" in arguments
    assert "cannot be stored" in result
    assert ran == [2000]  # once, and not again
    assert await steps_of(app, instance_id) == [("swell:2", "ActivityFailed")]
    failure: Any = failed.value
    assert (await instance(app, failure.instance_id))["status"] == "failed"


@pytest.mark.parametrize("empty_database_url", ["sqlite"], indirect=True)
async def test_a_session_that_waits_for_a_task_that_writes_ends_with_the_reason(
    apps: Apps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committers, "GATE_SECONDS", 0.2)
    app = await apps.start(leader_lease_duration=3)
    attempts: list[int] = []

    @activity
    async def inner(ctx: WorkflowContext) -> None: ...

    @activity
    async def waits_for_itself(ctx: WorkflowContext) -> str:
        attempts.append(1)
        if len(attempts) == 1:
            await ctx.session.execute(text("SELECT 1"))
            await asyncio.gather(inner(ctx))  # a task of its own: not in this transaction
        return "went on"

    @workflow
    async def flow(ctx: WorkflowContext) -> str:
        return await waits_for_itself(ctx)

    starting = asyncio.create_task(flow.start())
    with pytest.raises(Exception, match=r"one writer|Lock lost") as stopped:
        await starting
    [instance_id] = await _instances_of(app)

    await reached(app, instance_id)
    assert stopped.value is not None
