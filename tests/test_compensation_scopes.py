"""Compensations in activities and transactions, forgotten ones, and those that a body executes itself."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from edda import (
    RetryExhaustedError,
    RetryPolicy,
    TerminalError,
    WorkflowContext,
    activity,
    on_failure,
    register_compensation,
    sleep,
    workflow,
)
from edda.app import EddaApp
from edda.compensation import clear_compensations, execute_compensations
from edda.storage.writes import StepRecorded
from edda.unit_of_work import UnitOfWork
from tests.support.apps import always_replay, engine_of, instance, reached, result_of, steps_of
from tests.support.rows import create_tables, put, rows
from tests.support.sagas import broken, compensated, do, done, failed_id, outcomes, undo
from tests.support.statements import counted

ONCE = RetryPolicy(max_attempts=1)


# -- registering in activities and transactions ------------------------------------------------


async def test_what_an_activity_registers_commits_with_it(app: EddaApp) -> None:
    attempts: list[int] = []

    @on_failure(undo)
    @activity(retry_policy=RetryPolicy(initial_interval=0.01, max_attempts=2))
    async def book(ctx: WorkflowContext, name: str) -> None:
        attempts.append(1)
        await register_compensation(ctx, undo, f"attempt {len(attempts)}")
        with contextlib.suppress(KeyError):
            async with ctx.transaction():
                await register_compensation(ctx, undo, "rolled back")
                raise KeyError("inside")
        async with ctx.transaction():
            await register_compensation(ctx, undo, "kept")
        if len(attempts) == 1:
            raise OSError("again")

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await book(ctx, "flight")
        await broken(ctx)

    instance_id = await failed_id(flow)
    assert done == ["undo flight", "undo kept", "undo attempt 2"]
    assert [step_id for step_id, _ in await steps_of(app, instance_id)][:3] == [
        "book:1",
        "broken:1",
        "workflow_failed",
    ]


async def test_activities_inside_activities_are_undone_if_the_outer_one_was_recorded(app: EddaApp) -> None:
    @activity(retry_policy=ONCE)
    async def outer(ctx: WorkflowContext, good: bool) -> None:
        await put(ctx, f"outer {good}")
        await do(ctx, f"inside {good}")
        if not good:
            raise OSError("no")

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await outer(ctx, good=True)
        await outer(ctx, good=False)

    await create_tables(app)
    await failed_id(flow)
    assert done == ["do inside True", "do inside False", "undo inside True"]
    assert await rows(app) == ["outer True"]


async def test_with_a_session_the_registration_commits_with_the_rows_of_the_user(app: EddaApp) -> None:
    @activity
    async def remove(ctx: WorkflowContext, name: str) -> None:
        await put(ctx, f"undo {name}")

    @activity
    @on_failure(remove)
    async def insert(ctx: WorkflowContext, name: str) -> None:
        await put(ctx, name)

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await insert(ctx, "flight")
        await broken(ctx)

    await create_tables(app)
    await failed_id(flow)
    assert await rows(app) == ["flight", "undo flight"]


@pytest.mark.parametrize("replays", [True, False])
async def test_a_block_that_was_rolled_back_has_nothing_to_compensate(app: EddaApp, replays: bool) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        with contextlib.suppress(KeyError):
            async with ctx.transaction():
                await do(ctx, "undone by the database")
                await register_compensation(ctx, undo, "this one, too")
                raise KeyError("inside")
        async with ctx.transaction():
            await do(ctx, "flight")
            await register_compensation(ctx, undo, "hotel")
        await sleep(ctx, 0.01)
        raise ValueError("no")

    if replays:
        always_replay(app)
    await reached(app, await flow.start(), "failed")
    assert done == ["do undone by the database", "do flight", "undo hotel", "undo flight"]


async def test_a_task_that_an_activity_made_cannot_register(app: EddaApp) -> None:
    @activity(retry_policy=ONCE)
    async def book(ctx: WorkflowContext) -> None:
        await asyncio.gather(register_compensation(ctx, undo, "flight"))

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await book(ctx)

    with pytest.raises(RetryExhaustedError) as raised:
        await flow.start()
    assert "cannot register or clear" in str(raised.value.__cause__)


# -- forgetting -------------------------------------------------------------------------------


@pytest.mark.parametrize("replays", [True, False])
async def test_what_was_cleared_is_not_executed_and_what_came_later_is(app: EddaApp, replays: bool) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await do(ctx, "flight")
        await do(ctx, "hotel")
        await clear_compensations(ctx)
        await do(ctx, "car")
        await sleep(ctx, 0.01)
        raise ValueError("no")

    if replays:
        always_replay(app)
    instance_id = await flow.start()
    await reached(app, instance_id, "failed")
    assert done == ["do flight", "do hotel", "do car", "undo car"]
    [cleared] = [
        row
        for row in await app.storage.get_history(instance_id)
        if row["event_type"] == "CompensationsCleared"
    ]
    assert cleared["activity_id"] == "clear_compensations:1"
    assert isinstance(cleared["event_data"], dict)
    assert cleared["event_data"]["count"] == 2


async def test_an_activity_can_clear_what_is_registered_and_what_it_has_registered_itself(
    app: EddaApp,
) -> None:
    @activity
    async def confirm(ctx: WorkflowContext) -> None:
        await register_compensation(ctx, undo, "own")
        await clear_compensations(ctx)
        await register_compensation(ctx, undo, "later")

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await do(ctx, "flight")
        await confirm(ctx)
        await broken(ctx)

    await failed_id(flow)
    assert done == ["do flight", "undo later"]


async def test_after_clearing_a_failure_goes_straight_to_its_end(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await do(ctx, "flight")
        await clear_compensations(ctx)
        raise ValueError("no")

    await failed_id(flow)
    with counted() as seen:
        await failed_id(flow)
    assert seen.containing("compensating") == []


# -- executing in the body ---------------------------------------------------------------------


@pytest.mark.parametrize("replays", [True, False])
async def test_a_body_can_compensate_by_itself_and_end_well(app: EddaApp, replays: bool) -> None:
    @on_failure(undo)
    @activity
    async def charge(ctx: WorkflowContext, name: str) -> None:
        done.append(f"charge {name}")

    @workflow
    async def flow(ctx: WorkflowContext) -> str:
        await do(ctx, "flight")
        await charge(ctx, "card")
        try:
            await broken(ctx)
        except TerminalError:
            await execute_compensations(ctx)
        await sleep(ctx, 0.01)
        return "undone"

    if replays:
        always_replay(app)
    instance_id = await flow.start()
    assert await result_of(app, instance_id) == "undone"
    assert done == ["do flight", "charge card", "undo card", "undo flight"]
    assert len(await outcomes(app, instance_id)) == 2


async def test_a_later_failure_executes_only_what_is_left(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await do(ctx, "flight")
        await execute_compensations(ctx)
        await do(ctx, "hotel")
        await broken(ctx)

    assert await compensated(app, await failed_id(flow)) == ["undo", "undo"]
    assert done == ["do flight", "undo flight", "do hotel", "undo hotel"]


async def test_one_that_fails_for_good_does_not_stop_the_body_and_is_named_when_it_fails(
    app: EddaApp,
) -> None:
    @activity(retry_policy=ONCE)
    async def stubborn(ctx: WorkflowContext) -> None:
        raise OSError("stays")

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await do(ctx, "flight")
        await register_compensation(ctx, stubborn)
        await execute_compensations(ctx)
        raise ValueError("no")

    row = await instance(app, await failed_id(flow))
    assert done == ["do flight", "undo flight"]
    output: Any = row["output_data"]
    assert [error["activity_name"] for error in output["compensation_errors"]] == ["stubborn"]


async def test_one_that_a_cancellation_interrupts_is_left_to_the_rollback(app: EddaApp) -> None:
    entered = asyncio.Event()

    @activity(cancellable=True)
    async def give_back(ctx: WorkflowContext) -> None:
        done.append("give back")
        if not entered.is_set():
            entered.set()
            await asyncio.Event().wait()

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await register_compensation(ctx, give_back)
        await do(ctx, "flight")
        await execute_compensations(ctx)

    start = asyncio.ensure_future(flow.start())
    await entered.wait()
    (instance_id,) = engine_of(app)._running
    assert await engine_of(app).cancel_workflow(instance_id)
    assert await start == instance_id
    assert done == ["do flight", "undo flight", "give back", "give back"]
    output: Any = (await instance(app, instance_id))["output_data"]
    assert "compensation_errors" not in output


async def test_only_a_body_can_execute_them(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        async with ctx.transaction():
            await execute_compensations(ctx)

    with pytest.raises(RuntimeError, match="is for the body"):
        await flow.start()


# -- steps whose callers do not learn that they were recorded -------------------------------------


@pytest.fixture
def cancelled_in_the_commit(monkeypatch: pytest.MonkeyPatch, app: EddaApp) -> None:
    """Whoever waits for an activity is cancelled when that is recorded, but not yet answered."""
    submit, commit = app.storage.submit, UnitOfWork.commit
    seen: list[str] = []

    async def answer(write: Any, committed: Any) -> Any:
        answer = await asyncio.shield(asyncio.ensure_future(committed))
        if isinstance(write, StepRecorded) and write.activity_id == "do:1" and not seen:
            seen.append(write.activity_id)
            raise asyncio.CancelledError
        return answer

    async def submit_once(write: Any, *, within: float | None = None) -> Any:
        return await answer(write, submit(write, within=within))

    async def commit_once(self: UnitOfWork, write: Any) -> Any:
        return await answer(write, commit(self, write))

    monkeypatch.setattr(app.storage, "submit", submit_once)
    monkeypatch.setattr(UnitOfWork, "commit", commit_once)


@pytest.mark.usefixtures("cancelled_in_the_commit")
@pytest.mark.parametrize("uses_session", [False, True])
@pytest.mark.parametrize("then", ["fails", "executes", "clears"])
async def test_what_was_recorded_is_undone_although_its_caller_was_cancelled(
    app: EddaApp, then: str, uses_session: bool
) -> None:
    await create_tables(app)

    @activity
    @on_failure(undo)
    async def do(ctx: WorkflowContext, name: str) -> None:
        if uses_session:
            await put(ctx, name)

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await do(ctx, "flight")
        if then == "executes":
            await execute_compensations(ctx)
            done.append("goes on")
        if then == "clears":
            await clear_compensations(ctx)
        raise ValueError("no")

    await failed_id(flow)
    assert done == {"fails": ["undo flight"], "executes": ["undo flight", "goes on"], "clears": []}[then]
