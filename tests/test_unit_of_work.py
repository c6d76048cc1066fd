"""Rows of users and the record of the activity: together or not at all."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from edda import RetryExhaustedError, RetryPolicy, WorkflowContext, activity, sleep, workflow
from edda.app import EddaApp
from edda.exceptions import LockLostError
from tests.support.apps import Apps, always_replay, look_for_work, reached, result_of, steps_of
from tests.support.rows import (
    Order,
    check_nothing_is_held,
    connections_in_use,
    create_tables,
    notes,
    orders,
    put,
    put_one,
    rows,
    steal,
    storage_of,
)

QUICK = RetryPolicy(initial_interval=0.01, backoff_coefficient=1.0, max_attempts=3)
ONCE = RetryPolicy(max_attempts=1)


@pytest.fixture
async def app(apps: Apps) -> EddaApp:
    app = await apps.start(default_retry_policy=QUICK)
    await create_tables(app)
    return app


async def test_the_row_of_the_user_and_the_step_commit_together(app: EddaApp) -> None:
    instance_id = await put_one.start(name="a")

    assert await rows(app) == ["a"]
    assert await steps_of(app, instance_id) == [("put_row:1", "ActivityCompleted")]
    await check_nothing_is_held(app)


async def test_the_row_is_not_visible_to_others_before_the_activity_ends(app: EddaApp) -> None:
    seen: list[list[str]] = []

    @activity
    async def look(ctx: WorkflowContext) -> None:
        await put(ctx, "a")
        seen.append(await rows(app))

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await look(ctx)

    await flow.start()
    assert (seen, await rows(app)) == ([[]], ["a"])


async def test_an_error_takes_the_row_of_its_attempt_along(app: EddaApp) -> None:
    attempts: list[int] = []

    @activity
    async def flaky(ctx: WorkflowContext) -> int:
        attempts.append(1)
        await put(ctx, f"attempt {len(attempts)}")
        if len(attempts) < 3:
            raise OSError("no")
        return len(attempts)

    @workflow
    async def flow(ctx: WorkflowContext) -> int:
        return await flaky(ctx)

    instance_id = await flow.start()

    assert await result_of(app, instance_id) == 3
    assert await rows(app) == ["attempt 3"]
    data: Any = (await app.storage.get_history(instance_id))[0]["event_data"]
    assert data["retry_metadata"]["total_attempts"] == 3
    await check_nothing_is_held(app)


@pytest.mark.parametrize("error", [OSError("no"), TimeoutError("late"), ConnectionResetError("gone")])
async def test_an_error_of_the_network_elsewhere_is_no_trouble_of_the_database(
    app: EddaApp, error: Exception
) -> None:
    """It counts as the failure of the activity, although it looks like a lost connection."""

    @activity
    async def ask(ctx: WorkflowContext) -> None:
        await put(ctx, "a")
        raise error

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await ask(ctx)

    with pytest.raises(RetryExhaustedError, match="after 3 attempts") as caught:
        await flow.start()
    assert type(caught.value.__cause__) is type(error)
    assert await rows(app) == []


async def test_a_row_that_the_database_refuses_is_a_failure_of_the_activity(app: EddaApp) -> None:
    await put_one.start(name="a")

    with pytest.raises(RetryExhaustedError) as caught:
        await put_one.start(name="a")

    assert isinstance(caught.value.__cause__, IntegrityError)
    assert await rows(app) == ["a"]
    instance_id = caught.value.instance_id  # type: ignore[attr-defined]
    assert await steps_of(app, instance_id) == [
        ("put_row:1", "ActivityFailed"),
        ("workflow_failed", "WorkflowFailed"),
    ]
    await check_nothing_is_held(app)


async def test_objects_that_were_only_added_are_stored_with_the_activity(app: EddaApp) -> None:
    @activity
    async def add_objects(ctx: WorkflowContext) -> str:
        ctx.session.add_all([Order(name="a"), Order(name="b")])
        await ctx.session.execute(insert(notes), [{"text": "a"}, {"text": "b"}])
        kept = Order(name="c")
        ctx.session.add(kept)
        await ctx.session.flush()
        await ctx.session.execute(insert(notes).values(text="c"))
        return kept.name

    @workflow
    async def flow(ctx: WorkflowContext) -> str:
        return await add_objects(ctx)

    assert await result_of(app, await flow.start()) == "c"
    assert await rows(app) == ["a", "b", "c"]


async def test_an_object_that_was_only_added_begins_a_transaction(app: EddaApp) -> None:
    @activity
    async def add_object(ctx: WorkflowContext) -> None:
        ctx.session.add(Order(name="a"))

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await add_object(ctx)

    instance_id = await flow.start()
    async with storage_of(app).engine.connect() as connection:
        assert list(await connection.scalars(orders.select())) == ["a"]
    assert await steps_of(app, instance_id) == [("add_object:1", "ActivityCompleted")]


async def test_an_object_that_cannot_be_stored_at_the_commit_fails_the_activity(app: EddaApp) -> None:
    await put_one.start(name="a")

    @activity(retry_policy=ONCE)
    async def add_object(ctx: WorkflowContext) -> None:
        ctx.session.add(Order(name="a"))

    @workflow
    async def flow(ctx: WorkflowContext) -> str:
        try:
            await add_object(ctx)
        except RetryExhaustedError as error:
            return type(error.__cause__).__name__
        return "stored"

    assert await result_of(app, await flow.start()) == "IntegrityError"
    await check_nothing_is_held(app)


async def test_a_failed_flush_that_the_user_swallows_does_not_commit_half(app: EddaApp) -> None:
    await put_one.start(name="a")

    @activity(retry_policy=ONCE)
    async def swallow(ctx: WorkflowContext) -> None:
        await put(ctx, "b")
        ctx.session.add(Order(name="a"))
        try:
            await ctx.session.flush()
        except IntegrityError:
            return

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await swallow(ctx)

    with pytest.raises(RetryExhaustedError):
        await flow.start()
    assert await rows(app) == ["a"]
    await check_nothing_is_held(app)


async def test_a_session_that_was_only_looked_at_costs_nothing(app: EddaApp) -> None:
    @activity
    async def look(ctx: WorkflowContext) -> int:
        assert not ctx.session.in_transaction()
        return connections_in_use(app)

    @workflow
    async def flow(ctx: WorkflowContext) -> int:
        return await look(ctx)

    assert await result_of(app, await flow.start()) == 0
    await check_nothing_is_held(app)


async def test_the_loss_of_the_lease_takes_the_row_along(app: EddaApp) -> None:
    """Another worker has taken the instance over while the activity was running."""
    calls: list[int] = []

    @activity
    async def slow(ctx: WorkflowContext) -> int:
        calls.append(1)
        if len(calls) == 1:
            await steal(app, ctx.instance_id)
        await put(ctx, f"call {len(calls)}")
        return len(calls)

    @workflow
    async def flow(ctx: WorkflowContext) -> int:
        started.append(ctx.instance_id)
        return await slow(ctx)

    started: list[str] = []

    with pytest.raises(LockLostError):
        await flow.start()
    look_for_work(app)

    assert await result_of(app, started[0]) == 2
    assert await rows(app) == ["call 2"]
    assert await steps_of(app, started[0]) == [("slow:1", "ActivityCompleted")]
    await check_nothing_is_held(app)


async def test_outside_an_activity_there_is_no_session(app: EddaApp) -> None:
    texts: list[str] = []

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        for ask in (lambda: ctx.session, lambda: ctx.sync_session):
            with pytest.raises(RuntimeError) as caught:
                ask()
            texts.append(str(caught.value))

    await flow.start()
    expected = (
        "ctx.session must be accessed inside a transaction. "
        "Use @activity (default) or async with ctx.transaction()"
    )
    assert texts == [expected, expected]


async def test_a_task_made_in_an_activity_is_outside_of_its_transaction(app: EddaApp) -> None:
    @activity
    async def parent(ctx: WorkflowContext) -> list[bool]:
        async def child() -> list[bool]:
            with pytest.raises(RuntimeError, match=r"^ctx.session must be accessed inside a transaction"):
                _ = ctx.session
            with pytest.raises(RuntimeError, match=r"^Cannot register post-commit callback"):
                ctx.register_post_commit(child)
            return [ctx.in_transaction()]

        await put(ctx, "a")
        gathered = await asyncio.gather(child(), child())
        return [ctx.in_transaction(), *await asyncio.create_task(child()), *gathered[0], *gathered[1]]

    @workflow
    async def flow(ctx: WorkflowContext) -> list[bool]:
        return [ctx.in_transaction(), *await parent(ctx)]

    assert await result_of(app, await flow.start()) == [False, True, False, False, False]


async def test_children_that_read_the_storage_do_not_disturb_the_session_of_the_parent(app: EddaApp) -> None:
    @activity
    async def parent(ctx: WorkflowContext) -> int:
        async def child(number: int) -> bool:
            return await app.storage.get_instance(ctx.instance_id) is not None

        children = [asyncio.create_task(child(number)) for number in range(10)]
        await put(ctx, "a", "b", "c")
        return sum(await asyncio.gather(*children))

    @workflow
    async def flow(ctx: WorkflowContext) -> int:
        return await parent(ctx)

    assert await result_of(app, await flow.start()) == 10
    assert await rows(app) == ["a", "b", "c"]


async def test_callbacks_run_after_the_commit_in_order_and_apart_from_each_other(
    app: EddaApp, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[object] = []

    @activity
    async def notify(ctx: WorkflowContext) -> None:
        async def tell(what: str) -> None:
            told.append((what, await rows(app), ctx.in_transaction()))

        async def fail() -> None:
            told.append("fails")
            raise OSError("callback")

        await put(ctx, "a")
        ctx.register_post_commit(lambda: tell("first"))
        ctx.register_post_commit(fail)
        ctx.register_post_commit(lambda: tell("last"))

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await notify(ctx)

    await reached(app, await flow.start())

    assert told == [("first", ["a"], False), "fails", ("last", ["a"], False)]
    assert "A post-commit callback failed" in caplog.text


async def test_callbacks_run_once_also_without_a_session_and_not_on_replay(app: EddaApp) -> None:
    told: list[str] = []

    @activity
    async def notify(ctx: WorkflowContext) -> None:
        async def tell() -> None:
            told.append("told")

        ctx.register_post_commit(tell)

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await notify(ctx)
        await sleep(ctx, 0.01)

    always_replay(app)
    await reached(app, await flow.start())
    assert told == ["told"]


async def test_callbacks_of_a_failed_attempt_are_dropped(app: EddaApp) -> None:
    told: list[int] = []
    attempts: list[int] = []

    @activity
    async def flaky(ctx: WorkflowContext) -> None:
        number = len(attempts)
        attempts.append(number)

        async def tell() -> None:
            told.append(number)

        ctx.register_post_commit(tell)
        if number < 2:
            raise OSError("no")

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await flaky(ctx)

    await flow.start()
    assert (attempts, told) == ([0, 1, 2], [2])


async def test_there_are_no_callbacks_outside_a_transaction(app: EddaApp) -> None:
    texts: list[str] = []

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        async def never() -> None: ...

        with pytest.raises(RuntimeError) as caught:
            ctx.register_post_commit(never)
        texts.append(str(caught.value))

    await flow.start()
    assert texts == ["Cannot register post-commit callback: not in a transaction"]
