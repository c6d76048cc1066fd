"""What one compensation records, and what becomes of one that fails."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel

from edda import (
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
from edda.exceptions import RecurException, WorkflowCancelledException
from tests.support.apps import Apps, go_on_claiming, instance, reached, steps_of, stop_claiming
from tests.support.eventually import eventually
from tests.support.rows import create_tables, put, rows
from tests.support.sagas import Recorder, broken, failed_id, outcomes

QUICK = RetryPolicy(initial_interval=0.01, backoff_coefficient=1.0, max_attempts=3)


class Booking(BaseModel):
    number: int


async def test_the_row_of_one_that_was_executed_names_the_function_and_its_arguments(app: EddaApp) -> None:
    async def release(ctx: WorkflowContext, item: str, count: int = 1) -> str:
        return "not kept"

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await register_compensation(ctx, release, "book", count=2)
        await broken(ctx)

    assert await outcomes(app, await failed_id(flow)) == [
        (
            "compensation_1",
            "CompensationExecuted",
            {"compensation_id": 1, "activity_name": "release", "args": ["book"], "kwargs": {"count": 2}},
        )
    ]


async def test_one_that_fails_for_good_is_recorded_and_named_in_the_output(
    app: EddaApp, caplog: pytest.LogCaptureFixture
) -> None:
    done: list[str] = []

    @activity(retry_policy=QUICK)
    async def undo(ctx: WorkflowContext, name: str) -> None:
        done.append(name)
        if name == "hotel":
            raise ConnectionError("no answer")

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        for name in ("flight", "hotel", "car"):
            await register_compensation(ctx, undo, name)
        await broken(ctx)

    instance_id = await failed_id(flow)

    assert done == ["car", "hotel", "hotel", "hotel", "flight"]
    [first, (step_id, kind, data), last] = await outcomes(app, instance_id)
    assert (first[1], last[1]) == ("CompensationExecuted", "CompensationExecuted")
    assert (step_id, kind) == ("compensation_2", "CompensationFailed")
    failure = {
        "compensation_id": 2,
        "activity_name": "undo",
        "error_type": "ConnectionError",
        "error_message": "no answer",
    }
    assert failure.items() <= data.items()
    assert data["retry_metadata"]["total_attempts"] == 3
    row = await instance(app, instance_id)
    assert row["status"] == "failed"
    assert isinstance(row["output_data"], dict)
    assert row["output_data"]["error_message"] == "broken"
    assert row["output_data"]["compensation_errors"] == [failure]
    assert "Compensation undo of" in caplog.text


@pytest.mark.parametrize("error", [TerminalError("never"), WorkflowCancelledException("by itself")])
async def test_an_error_that_no_attempt_can_help_is_not_retried(app: EddaApp, error: Exception) -> None:
    called: list[int] = []

    async def undo(ctx: WorkflowContext) -> None:
        called.append(1)
        raise error

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await register_compensation(ctx, undo)
        await broken(ctx)

    [(_, kind, data)] = await outcomes(app, await failed_id(flow))
    assert (kind, data["error_message"], called) == ("CompensationFailed", str(error), [1])


class Odd(BaseException):
    """What user code should not raise, and some does."""


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (asyncio.CancelledError(), "Compensation 'undo' raised CancelledError()"),
        (Odd("x"), "Compensation 'undo' raised Odd('x')"),
        (RecurException({}), "a compensation cannot recur: its workflow is over"),
    ],
)
async def test_what_is_no_exception_does_not_keep_the_others_from_being_executed(
    app: EddaApp, error: BaseException, told: str
) -> None:
    done: list[str] = []

    async def first(ctx: WorkflowContext) -> None:
        done.append("first")

    @activity(retry_policy=RetryPolicy(max_attempts=1))
    async def undo(ctx: WorkflowContext) -> None:
        raise error

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await register_compensation(ctx, first)
        await register_compensation(ctx, undo)
        await broken(ctx)

    instance_id = await failed_id(flow)
    assert done == ["first"]
    output: Any = (await instance(app, instance_id))["output_data"]
    assert [failure["error_message"] for failure in output["compensation_errors"]] == [told]


async def test_one_that_a_shutdown_interrupts_is_executed_by_the_next_worker(
    apps: Apps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EddaApp, "drain_seconds", 0.05)
    app = await apps.start()
    called: list[int] = []

    async def undo(ctx: WorkflowContext) -> None:
        called.append(1)
        if len(called) == 1:
            await asyncio.Event().wait()

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await register_compensation(ctx, undo)
        raise ValueError("no")

    start = asyncio.ensure_future(flow.start())

    def check() -> None:
        assert called == [1]

    await eventually(check)
    await app.shutdown()
    with pytest.raises(RuntimeError, match="shutting down") as raised:
        await start
    instance_id = raised.value.instance_id  # type: ignore[attr-defined]
    await app.initialize()
    await reached(app, instance_id, "failed")
    assert [kind for _, kind, _ in await outcomes(app, instance_id)] == ["CompensationExecuted"]


async def test_a_missing_argument_is_a_recorded_failure_and_the_others_are_executed(app: EddaApp) -> None:
    done: list[str] = []

    async def release(ctx: WorkflowContext, item: str, reserved: int) -> None:
        done.append("release")

    async def note(ctx: WorkflowContext, item: str) -> None:
        done.append(item)

    @activity
    @on_failure(note)
    @on_failure(release)
    async def reserve(ctx: WorkflowContext, item: str) -> str:
        return "a text has no names"

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await reserve(ctx, "book")
        await broken(ctx)

    [_, (_, kind, data)] = await outcomes(app, await failed_id(flow))
    assert done == ["book"]
    assert (kind, data["error_type"]) == ("CompensationFailed", "TypeError")
    assert "missing a required argument: 'reserved'" in data["error_message"]


async def test_arguments_arrive_with_the_types_of_the_annotations(app: EddaApp) -> None:
    seen: list[Any] = []

    async def cancel(ctx: WorkflowContext, first: Booking, more: list[Booking], plain: Any) -> None:
        seen.extend([first, more, plain])

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await register_compensation(ctx, cancel, Booking(number=1), more=[Booking(number=2)], plain={1, 2})
        await broken(ctx)

    await failed_id(flow)
    assert seen == [Booking(number=1), [Booking(number=2)], {1, 2}]


async def test_its_rows_in_the_database_of_the_user_commit_with_its_record(app: EddaApp) -> None:
    await create_tables(app)
    attempts: list[int] = []

    @activity(retry_policy=QUICK)
    async def undo(ctx: WorkflowContext) -> None:
        attempts.append(1)
        await put(ctx, f"attempt {len(attempts)}")
        if len(attempts) == 1:
            raise OSError("again")

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await register_compensation(ctx, undo)
        await broken(ctx)

    await failed_id(flow)
    assert await rows(app) == ["attempt 2"]


async def test_a_sync_function_compensates_too(app: EddaApp) -> None:
    done: list[str] = []

    def undo(ctx: WorkflowContext, name: str) -> None:
        done.append(f"{ctx.workflow_name} {name}")

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await register_compensation(ctx, undo, "flight")
        await broken(ctx)

    await failed_id(flow)
    assert done == ["flow flight"]


async def test_activities_inside_are_numbered_under_it_and_register_nothing(app: EddaApp) -> None:
    done: list[str] = []

    async def never(ctx: WorkflowContext) -> None:
        done.append("never")

    @activity
    @on_failure(never)
    async def notify(ctx: WorkflowContext, whom: str) -> None:
        await register_compensation(ctx, never)
        done.append(whom)

    async def undo(ctx: WorkflowContext) -> None:
        await notify(ctx, "customer")

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await register_compensation(ctx, undo)
        try:
            await broken(ctx)
        finally:
            await undo_nothing(ctx)

    @activity
    async def undo_nothing(ctx: WorkflowContext) -> None:
        done.append("nothing")

    instance_id = await failed_id(flow)
    assert done == ["nothing", "customer"]
    assert (await steps_of(app, instance_id))[-2:] == [
        ("compensation_1/notify:1", "ActivityCompleted"),
        ("compensation_1", "CompensationExecuted"),
    ]


async def test_an_activity_used_both_ways_has_a_row_for_each(app: EddaApp) -> None:
    @activity
    async def notify(ctx: WorkflowContext, whom: str) -> None: ...

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await notify(ctx, "a")
        await notify(ctx, "b")
        await register_compensation(ctx, notify, "c")
        await broken(ctx)

    ids = [step_id for step_id, _ in await steps_of(app, await failed_id(flow))]
    assert [step_id for step_id in ids if "notify" in step_id or "compensation_1" in step_id] == [
        "notify:1",
        "notify:2",
        "register_compensation_notify:1",
        "compensation_1",
    ]


async def test_a_compensation_may_wait_and_the_instance_stays_compensating(app: EddaApp) -> None:
    done: list[str] = []

    async def undo(ctx: WorkflowContext) -> None:
        await sleep(ctx, 0.3)
        done.append("undone")

    @workflow
    async def flow(ctx: WorkflowContext) -> str:
        await register_compensation(ctx, undo)
        raise ValueError("no")

    await stop_claiming(app)
    instance_id = await flow.start()
    row = await instance(app, instance_id)
    assert (row["status"], row["locked_by"]) == ("compensating", None)
    go_on_claiming(app)
    await reached(app, instance_id, "failed")
    assert done == ["undone"]


async def test_hooks_see_it_as_an_activity(apps: Apps) -> None:
    recorder = Recorder()
    await apps.start(hooks=recorder)

    @activity(retry_policy=RetryPolicy(max_attempts=1))
    async def undo(ctx: WorkflowContext, name: str) -> None:
        if name == "hotel":
            raise OSError("no answer")

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await register_compensation(ctx, undo, "flight")
        await register_compensation(ctx, undo, "hotel")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await flow.start()
    assert recorder.calls == [
        ("on_workflow_start", "flow"),
        ("on_activity_start", "compensation_2", "undo"),
        ("on_activity_failed", "compensation_2", "undo"),
        ("on_activity_start", "compensation_1", "undo"),
        ("on_activity_complete", "compensation_1", "undo"),
        ("on_workflow_failed", "flow"),
    ]
