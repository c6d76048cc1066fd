"""``async with ctx.transaction()``: in the body a recorded step, elsewhere a savepoint."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, text
from sqlalchemy.exc import IntegrityError

from edda import RetryExhaustedError, RetryPolicy, WorkflowContext, activity, sleep, workflow
from edda.app import EddaApp
from tests.support.apps import Apps, always_replay, result_of, steps_of
from tests.support.rows import Order, check_nothing_is_held, create_tables, notes, put, rows, storage_of

QUICK = RetryPolicy(initial_interval=0.01, backoff_coefficient=1.0, max_attempts=3)
calls: list[str] = []


@pytest.fixture(autouse=True)
def _forget_calls() -> None:
    calls.clear()


@pytest.fixture
async def app(apps: Apps) -> EddaApp:
    app = await apps.start(default_retry_policy=QUICK)
    await create_tables(app)
    return app


@activity
async def put_row(ctx: WorkflowContext, name: str) -> str:
    calls.append(name)
    await put(ctx, name)
    return name


@activity
async def note(ctx: WorkflowContext, name: str) -> str:
    calls.append(name)
    return name


@pytest.mark.parametrize("begun_before", [True, False])
async def test_a_savepoint_is_rolled_back_while_the_rest_commits(app: EddaApp, begun_before: bool) -> None:
    told: list[str] = []

    @activity
    async def save(ctx: WorkflowContext) -> None:
        async def tell(what: str) -> None:
            told.append(what)

        ctx.register_post_commit(lambda: tell("outer"))
        if begun_before:
            await put(ctx, "before")
        with pytest.raises(KeyError):
            async with ctx.transaction():
                await put(ctx, "inside")
                ctx.register_post_commit(lambda: tell("inside"))
                raise KeyError
        async with ctx.transaction():
            await put(ctx, "kept")
            ctx.register_post_commit(lambda: tell("kept"))
        await put(ctx, "after")

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await save(ctx)

    instance_id = await flow.start()
    assert await rows(app) == ["after", *(["before"] if begun_before else []), "kept"]
    assert told == ["outer", "kept"]
    assert await steps_of(app, instance_id) == [("save:1", "ActivityCompleted")]


async def test_savepoints_nest_and_an_object_added_before_stays(app: EddaApp) -> None:
    @activity
    async def save(ctx: WorkflowContext) -> None:
        ctx.session.add(Order(name="object"))
        await ctx.session.execute(insert(notes).values(text="object"))
        async with ctx.transaction():
            await put(ctx, "1")
            with pytest.raises(IntegrityError):
                async with ctx.transaction():
                    await put(ctx, "2")
                    async with ctx.transaction():
                        await put(ctx, "1")
            async with ctx.transaction():
                await put(ctx, "3")

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await save(ctx)

    await flow.start()
    assert await rows(app) == ["1", "3", "object"]
    await check_nothing_is_held(app)


async def test_a_block_in_the_body_commits_together_and_once(app: EddaApp) -> None:
    always_replay(app)
    visible: list[list[str]] = []

    @workflow
    async def flow(ctx: WorkflowContext) -> list[str]:
        async with ctx.transaction():
            results = [await put_row(ctx, "a"), await note(ctx, "b")]
            await ctx.session.execute(insert(notes).values(text="a"))
            visible.append(await rows(app))
        await sleep(ctx, 0.01)
        return results

    instance_id = await flow.start()

    assert await result_of(app, instance_id) == ["a", "b"]
    assert visible == [[], ["a", "a"]]
    assert await rows(app) == ["a", "a"]
    assert calls == ["a", "b"]
    assert sorted(await steps_of(app, instance_id)) == [
        ("sleep:1", "TimerExpired"),
        ("transaction:1", "TransactionCommitted"),
        ("transaction:1/note:1", "ActivityCompleted"),
        ("transaction:1/put_row:1", "ActivityCompleted"),
    ]


async def test_a_block_that_was_rolled_back_is_seen_the_same_on_replay(app: EddaApp) -> None:
    always_replay(app)
    seen: list[Any] = []

    @workflow
    async def flow(ctx: WorkflowContext) -> str:
        outcome = "none"
        try:
            async with ctx.transaction():
                outcome = await put_row(ctx, "a")
                raise KeyError(outcome)  # noqa: TRY301 - the block has to see it
        except KeyError as error:
            seen.append(error.args)
        await note(ctx, "after")
        await sleep(ctx, 0.01)
        return outcome

    instance_id = await flow.start()
    assert await result_of(app, instance_id) == "a"
    assert (seen, calls, await rows(app)) == ([("a",), ("a",)], ["a", "after"], [])
    assert ("transaction:1", "TransactionRolledBack") in await steps_of(app, instance_id)


async def test_a_block_that_the_database_refuses_at_its_end_raises_on_replay_too(app: EddaApp) -> None:
    always_replay(app)
    seen: list[tuple[str, str]] = []

    @workflow
    async def flow(ctx: WorkflowContext) -> str:
        try:
            async with ctx.transaction():
                await put_row(ctx, "a")
                ctx.session.add(Order(name="a"))
        except IntegrityError as error:
            seen.append((type(error).__name__, str(error)))
        await note(ctx, "after")
        await sleep(ctx, 0.01)
        return "done"

    assert await result_of(app, await flow.start()) == "done"
    assert len(seen) == 2
    assert seen[0][0] == seen[1][0] == "IntegrityError"
    assert (calls, await rows(app)) == (["a", "after"], [])


async def test_a_wait_inside_a_block_is_a_clear_error(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        async with ctx.transaction():
            await put_row(ctx, "a")
            await sleep(ctx, 3600)

    with pytest.raises(RuntimeError, match=r"would wait inside ctx.transaction\(\)"):
        await flow.start()
    assert await rows(app) == []
    await check_nothing_is_held(app)


async def test_steps_inside_an_activity_have_its_prefix_and_do_not_shift_those_of_the_body(
    app: EddaApp,
) -> None:
    always_replay(app)

    @activity
    async def outer(ctx: WorkflowContext) -> list[str]:
        await put(ctx, "outer")
        return [
            await put_row(ctx, "inner 1"),
            await put_row(ctx, "inner 2"),
            await note(ctx, "given", activity_id="mine"),
        ]

    @workflow
    async def flow(ctx: WorkflowContext) -> list[str]:
        results = [*await outer(ctx), await put_row(ctx, "body")]
        await sleep(ctx, 0.01)
        return results

    instance_id = await flow.start()
    assert await result_of(app, instance_id) == ["inner 1", "inner 2", "given", "body"]
    assert calls == ["inner 1", "inner 2", "given", "body"]
    assert await rows(app) == ["body", "inner 1", "inner 2", "outer"]
    assert sorted(step for step, _ in await steps_of(app, instance_id)) == [
        "outer:1",
        "outer:1/mine",
        "outer:1/put_row:1",
        "outer:1/put_row:2",
        "put_row:1",
        "sleep:1",
    ]


async def test_a_step_inside_a_failed_activity_is_gone_with_it(app: EddaApp) -> None:
    @activity
    async def outer(ctx: WorkflowContext) -> str:
        await put_row(ctx, f"inner {len(calls)}")
        if len(calls) < 3:
            raise OSError("no")
        return "done"

    @workflow
    async def flow(ctx: WorkflowContext) -> str:
        return await outer(ctx)

    instance_id = await flow.start()
    assert await result_of(app, instance_id) == "done"
    assert await rows(app) == ["inner 2"]
    assert len(await steps_of(app, instance_id)) == 2


async def test_an_activity_that_fails_inside_another_leaves_the_rows_of_the_other(app: EddaApp) -> None:
    @activity(retry_policy=RetryPolicy(max_attempts=2, initial_interval=0.01))
    async def inner(ctx: WorkflowContext) -> None:
        await put(ctx, "inner")
        raise KeyError("x")

    @activity
    async def outer(ctx: WorkflowContext) -> str:
        await put(ctx, "outer")
        try:
            await inner(ctx)
        except RetryExhaustedError as error:
            return type(error.__cause__).__name__
        return "none"

    @workflow
    async def flow(ctx: WorkflowContext) -> str:
        return await outer(ctx)

    assert await result_of(app, await flow.start()) == "KeyError"
    assert await rows(app) == ["outer"]


@pytest.mark.parametrize("first", ["asks", "waits"])
async def test_an_activity_that_waits_begins_anew_afterwards_uncounted(app: EddaApp, first: str) -> None:
    @activity(retry_policy=RetryPolicy(max_attempts=1))
    async def patient(ctx: WorkflowContext) -> int:
        calls.append("patient")
        if first == "asks":
            await put(ctx, "row")
        await sleep(ctx, 0.05)
        if first == "waits":
            await put(ctx, "row")
        return len(calls)

    @workflow
    async def flow(ctx: WorkflowContext) -> int:
        return await patient(ctx)

    instance_id = await flow.start()
    assert await result_of(app, instance_id) == 2
    assert await rows(app) == ["row"]
    row = next(r for r in await app.storage.get_history(instance_id) if r["activity_id"] == "patient:1")
    assert "retry_metadata" not in row["event_data"]  # type: ignore[operator]


async def end_connection(app: EddaApp, ctx: WorkflowContext) -> None:
    """Have the server end the connection under the session of the context."""
    postgresql = storage_of(app).dialect.name == "postgresql"
    number = await ctx.session.scalar(
        text("SELECT pg_backend_pid()" if postgresql else "SELECT CONNECTION_ID()")
    )
    async with storage_of(app).engine.connect() as connection:
        await connection.execute(
            text(f"SELECT pg_terminate_backend({number})" if postgresql else f"KILL {number}")
        )


@pytest.mark.parametrize("empty_database_url", ["postgresql", "mysql"], indirect=True)
@pytest.mark.parametrize("swallowed", [True, False])
@pytest.mark.parametrize("nested", [True, False])
async def test_a_connection_that_is_ended_costs_an_attempt_that_does_not_count(
    app: EddaApp, swallowed: bool, nested: bool
) -> None:
    """Whoever sees the error, and whether or not it is swallowed: everything is made again, or nothing."""

    @activity(retry_policy=RetryPolicy(max_attempts=1))
    async def unlucky(ctx: WorkflowContext) -> None:
        calls.append("unlucky")
        if len(calls) == 1:
            await end_connection(app, ctx)
        try:
            await put(ctx, "unlucky")
        except Exception:
            if not swallowed:
                raise

    @activity(retry_policy=RetryPolicy(max_attempts=1))
    async def outer(ctx: WorkflowContext) -> None:
        await put(ctx, "outer")
        await unlucky(ctx)

    @workflow
    async def flow(ctx: WorkflowContext) -> str:
        await (outer if nested else unlucky)(ctx)
        return "done"

    instance_id = await flow.start()
    assert await result_of(app, instance_id) == "done"
    assert calls == ["unlucky", "unlucky"]
    assert await rows(app) == (["outer", "unlucky"] if nested else ["unlucky"])
    assert not [r for r in await app.storage.get_history(instance_id) if "retry_metadata" in str(r)]


@pytest.mark.parametrize("empty_database_url", ["postgresql", "mysql"], indirect=True)
@pytest.mark.parametrize("nested", [True, False])
async def test_of_two_activities_in_a_deadlock_both_end_well_and_neither_fails(
    app: EddaApp, nested: bool
) -> None:
    both_hold_one = asyncio.Barrier(2)

    @activity(retry_policy=RetryPolicy(max_attempts=1))
    async def remove(ctx: WorkflowContext, name: str) -> None:
        if len(calls) <= 2:
            await both_hold_one.wait()
        await ctx.session.execute(delete(notes).where(notes.c.text == name))
        await ctx.session.execute(delete(Order).where(Order.name == name))

    @activity(retry_policy=RetryPolicy(max_attempts=1))
    async def cross(ctx: WorkflowContext, first: str, second: str) -> None:
        calls.append(first)
        await ctx.session.execute(select(Order).where(Order.name == first).with_for_update())
        await put(ctx, f"by {first}")
        if nested:
            await remove(ctx, second)
            return
        if len(calls) <= 2:
            await both_hold_one.wait()
        await ctx.session.execute(select(Order).where(Order.name == second).with_for_update())

    @workflow
    async def flow(ctx: WorkflowContext, first: str, second: str) -> str:
        await cross(ctx, first, second)
        return "done"

    @activity
    async def prepare(ctx: WorkflowContext) -> None:
        await put(ctx, "a", "b")

    @workflow
    async def setup(ctx: WorkflowContext) -> None:
        await prepare(ctx)

    await setup.start()
    ids = await asyncio.gather(flow.start(first="a", second="b"), flow.start(first="b", second="a"))
    for instance_id in ids:
        assert await result_of(app, instance_id) == "done"
        assert not [r for r in await app.storage.get_history(instance_id) if "retry_metadata" in str(r)]
    assert len(calls) == 3
    assert {"by a", "by b"} <= set(await rows(app))
    await check_nothing_is_held(app)
