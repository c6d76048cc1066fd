"""Sync code with a session, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading

import pytest
from sqlalchemy import select, text

from edda import RetryExhaustedError, RetryPolicy, WorkflowContext, activity, workflow
from edda.app import EddaApp
from edda.storage.threads import AbandonedThreadError
from tests.support.apps import Apps, result_of
from tests.support.eventually import PATIENCE, eventually
from tests.support.rows import check_nothing_is_held, create_tables, notes, put_sync, rows, storage_of

ONCE = RetryPolicy(max_attempts=1)


@pytest.fixture
async def app(apps: Apps) -> EddaApp:
    app = await apps.start(default_retry_policy=ONCE)
    await create_tables(app)
    return app


async def test_rows_of_a_sync_activity_commit_with_it(app: EddaApp) -> None:
    @activity
    def save(ctx: WorkflowContext, name: str, *, more: str) -> list[str]:
        put_sync(ctx, name)
        put_sync(ctx, more)
        return list(ctx.sync_session.scalars(select(notes.c.text).order_by("text")))

    @workflow
    async def flow(ctx: WorkflowContext) -> list[str]:
        return await save(ctx, "a", more="b")

    assert await result_of(app, await flow.start()) == ["a", "b"]
    assert await rows(app) == ["a", "b"]
    await check_nothing_is_held(app)


async def test_an_error_takes_the_rows_of_a_sync_activity_along(app: EddaApp) -> None:
    @activity
    def save(ctx: WorkflowContext) -> None:
        put_sync(ctx, "a")
        raise KeyError("x")

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await save(ctx)

    with pytest.raises(RetryExhaustedError):
        await flow.start()
    assert await rows(app) == []
    await check_nothing_is_held(app)


async def test_a_thread_that_is_left_behind_can_do_nothing_more(app: EddaApp) -> None:
    go_on = threading.Event()
    raised: list[BaseException] = []

    @activity(timeout_seconds=0.2)
    def slow(ctx: WorkflowContext) -> None:
        try:
            put_sync(ctx, "early")
            go_on.wait(PATIENCE)
            put_sync(ctx, "late")
        except AbandonedThreadError as error:
            raised.append(error)

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await slow(ctx)

    with pytest.raises(RetryExhaustedError) as caught:
        await flow.start()
    assert str(caught.value.__cause__) == "Activity slow did not finish within 0.2 seconds"
    await check_nothing_is_held(app)
    go_on.set()

    def check() -> None:
        assert raised

    await eventually(check)
    assert await rows(app) == []
    await check_nothing_is_held(app)
    await asyncio.wait_for(_start_quickly(app), PATIENCE)


async def test_a_statement_that_waits_is_ended_and_its_connection_given_back(app: EddaApp) -> None:
    """On SQLite it waits for its turn, on the others in the server."""
    sleeping = {"postgresql": "SELECT pg_sleep(30)", "mysql": "SELECT SLEEP(1)"}
    name = storage_of(app).dialect.name
    entered, begin, ended = threading.Event(), threading.Event(), threading.Event()

    @activity(timeout_seconds=0.4)
    def slow(ctx: WorkflowContext) -> None:
        entered.set()
        begin.wait(10)
        try:
            ctx.sync_session.execute(text(sleeping.get(name, "SELECT 1")))
        finally:
            ended.set()

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await slow(ctx)

    starting = asyncio.create_task(flow.start())
    assert await asyncio.to_thread(entered.wait, 10)
    transaction = storage_of(app).transaction()
    if name == "sqlite":
        await transaction.session.execute(text("SELECT 1"))
    begin.set()
    assert await asyncio.to_thread(ended.wait, 10)
    await transaction.rollback()
    with pytest.raises(RetryExhaustedError, match="after 1 attempts"):
        await starting
    assert ended.is_set()
    await check_nothing_is_held(app)
    await asyncio.wait_for(_start_quickly(app), PATIENCE)


async def _start_quickly(app: EddaApp) -> None:
    @activity
    def save(ctx: WorkflowContext) -> None:
        put_sync(ctx, "quick")

    @workflow
    async def quick(ctx: WorkflowContext) -> None:
        await save(ctx)

    await quick.start()
    assert "quick" in await rows(app)
