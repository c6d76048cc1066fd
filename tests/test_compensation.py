"""Declaring compensations: what is registered, when, and what takes it back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from edda import (
    RetryPolicy,
    WorkflowContext,
    activity,
    compensation,
    on_failure,
    race,
    register_compensation,
    sleep,
    workflow,
)
from edda.app import EddaApp
from edda.compensation import CompensationAction
from edda.references import find, reference_of
from tests.support.apps import Apps, always_replay, instance, reached, result_of, steps_of
from tests.support.sagas import broken, do, done, failed_id, undo
from tests.support.statements import counted

ONCE = RetryPolicy(max_attempts=1)


# -- when it is executed -----------------------------------------------------------------


async def test_a_failure_undoes_what_was_done_the_last_first(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await do(ctx, "flight")
        await do(ctx, "hotel")
        await broken(ctx)
        await do(ctx, "never")

    instance_id = await failed_id(flow)
    assert done == ["do flight", "do hotel", "undo hotel", "undo flight"]
    row = await instance(app, instance_id)
    assert row["status"] == "failed"
    assert isinstance(row["output_data"], dict)
    assert row["output_data"]["error_type"] == "TerminalError"
    assert "compensation_errors" not in row["output_data"]
    assert [step_id for step_id, _ in await steps_of(app, instance_id)] == [
        "do:1",
        "do:2",
        "broken:1",
        "workflow_failed",
        "compensation_2",
        "compensation_1",
    ]


async def test_a_success_undoes_nothing(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> str:
        await do(ctx, "flight")
        return "booked"

    assert await result_of(app, await flow.start()) == "booked"
    assert done == ["do flight"]


async def test_an_activity_that_failed_is_not_undone(app: EddaApp) -> None:
    @activity(retry_policy=ONCE)
    @on_failure(undo)
    async def half(ctx: WorkflowContext, name: str) -> None:
        done.append(f"half {name}")
        raise OSError("no")

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await do(ctx, "flight")
        await half(ctx, "hotel")

    await failed_id(flow)
    assert done == ["do flight", "half hotel", "undo flight"]


async def test_without_registrations_a_failure_goes_straight_to_its_end(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        raise ValueError("no")

    await failed_id(flow)
    with counted() as seen:
        await failed_id(flow)
    assert seen.commits == 2
    assert seen.containing("compensating") == []
    assert seen.containing("SELECT", "FROM workflow_history") == []


async def test_a_registration_costs_no_statement(app: EddaApp) -> None:
    @activity
    async def plain(ctx: WorkflowContext, name: str) -> None: ...

    @workflow
    async def flow(ctx: WorkflowContext, compensates: bool = False) -> None:
        await (do if compensates else plain)(ctx, "flight")

    await flow.start()
    texts = []
    for compensates in (False, True):
        with counted() as seen:
            await flow.start(compensates=compensates)
        texts.append([text for text in seen.texts if not text.startswith("SELECT")])  # the loop's
    assert texts[0] == texts[1]


@pytest.mark.parametrize("above", [True, False])
async def test_the_decorator_stands_above_or_below_the_one_of_the_activity(app: EddaApp, above: bool) -> None:
    async def book(ctx: WorkflowContext, name: str) -> str:
        return f"booked {name}"

    decorated = on_failure(undo)(activity(book)) if above else activity(on_failure(undo)(book))

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        assert await decorated(ctx, "flight") == "booked flight"
        await broken(ctx)

    await failed_id(flow)
    assert done == ["undo flight"]


async def test_a_sync_activity_in_a_branch_that_lost_its_race_is_undone_if_it_was_recorded(
    any_app: EddaApp,
) -> None:
    @activity
    @on_failure(undo)
    def pack(ctx: WorkflowContext, name: str) -> None:
        done.append(f"pack {name}")

    packed = asyncio.Event()

    async def packs_and_waits(ctx: WorkflowContext) -> None:
        await pack(ctx, "bag")
        packed.set()
        await sleep(ctx, 3600)

    async def wins(ctx: WorkflowContext) -> None:
        await packed.wait()
        await sleep(ctx, 0.01)

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await race(ctx, long=packs_and_waits(ctx), short=wins(ctx))
        await sleep(ctx, 0.01)
        raise ValueError("too late")

    await reached(any_app, await flow.start(), "failed")
    assert done == ["pack bag", "undo bag"]


@pytest.mark.parametrize(
    ("own", "expected"), [(None, 2), (RetryPolicy(max_attempts=3, initial_interval=0.01), 3)]
)
async def test_attempts_follow_the_policy_of_the_activity_else_that_of_the_app(
    apps: Apps, own: RetryPolicy | None, expected: int
) -> None:
    await apps.start(default_retry_policy=RetryPolicy(max_attempts=2, initial_interval=0.01))

    async def stubborn(ctx: WorkflowContext) -> None:
        done.append("attempt")
        raise OSError("stays")

    compensating = stubborn if own is None else activity(retry_policy=own)(stubborn)

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await register_compensation(ctx, compensating)
        raise ValueError("no")

    await failed_id(flow)
    assert len(done) == expected


async def test_several_on_one_activity_are_executed_from_the_outermost_in(app: EddaApp) -> None:
    async def first(ctx: WorkflowContext) -> None:
        done.append("first")

    async def last(ctx: WorkflowContext) -> None:
        done.append("last")

    @on_failure(last)
    @activity
    @on_failure(first)
    async def book(ctx: WorkflowContext) -> None: ...

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await book(ctx)
        await broken(ctx)

    await failed_id(flow)
    assert done == ["last", "first"]


@pytest.mark.parametrize("decorated", [3, workflow])
def test_only_activities_can_be_decorated(decorated: Any) -> None:
    async def flow(ctx: WorkflowContext) -> None: ...

    target = decorated(flow) if callable(decorated) else decorated
    with pytest.raises(TypeError, match="@on_failure decorates activities"):
        on_failure(undo)(target)


@pytest.mark.parametrize("declare", [compensation, on_failure])
def test_what_cannot_compensate_is_an_error_at_once(declare: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match="a compensation is a function or an activity"):
        declare("undo")


def test_a_declared_function_is_returned_unchanged_and_found_by_its_name() -> None:
    async def local(ctx: WorkflowContext) -> None: ...

    assert compensation(local) is local
    assert find(reference_of(local)) is local


# -- registering in the body -----------------------------------------------------------------


async def test_registrations_before_suspensions_are_executed_once(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await register_compensation(ctx, undo, "flight", activity_id="book:1")
        await sleep(ctx, 0.01)
        await register_compensation(ctx, undo, name="hotel")
        await sleep(ctx, 0.01)
        raise ValueError("no")

    always_replay(app)
    instance_id = await flow.start()
    await reached(app, instance_id, "failed")
    assert done == ["undo hotel", "undo flight"]
    rows = {row["activity_id"]: row["event_data"] for row in await app.storage.get_history(instance_id)}
    first: Any = rows["register_compensation_undo:1"]
    second: Any = rows["register_compensation_undo:2"]
    assert (first["activity_name"], first["compensation_id"], first["activity_id"]) == ("undo", 1, "book:1")
    assert (second["compensation_id"], second["activity_id"]) == (2, "undo:2")


async def test_functions_that_share_a_name_are_told_apart_by_their_run(app: EddaApp) -> None:
    def made(name: str) -> Callable[..., Any]:
        return lambda ctx: done.append(name)

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await register_compensation(ctx, made("flight"))
        await register_compensation(ctx, made("hotel"))
        await sleep(ctx, 0.01)
        raise ValueError("no")

    always_replay(app)
    await reached(app, await flow.start(), "failed")
    assert done == ["hotel", "flight"]


async def test_arguments_that_do_not_fit_are_told_at_the_call(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> str:
        with pytest.raises(TypeError, match=r"undo\(\): missing a required argument: 'name'"):
            await register_compensation(ctx, undo)
        return "went on"

    instance_id = await flow.start()
    assert await result_of(app, instance_id) == "went on"
    assert await steps_of(app, instance_id) == []


# -- ids and actions ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given", ["compensation_1", "compensation_1/f:1", "workflow_failed", "workflow_cancelled"]
)
async def test_ids_of_the_library_cannot_be_given_to_steps(app: EddaApp, given: str) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await do(ctx, "flight", activity_id=given)

    with pytest.raises(ValueError, match="the library itself uses"):
        await flow.start()
    assert done == []


async def test_an_action_calls_its_function_and_lets_the_error_through() -> None:
    async def act(name: str, *, loud: bool) -> None:
        done.append(f"{name} {loud}")

    def fail() -> None:
        raise KeyError("no")

    await CompensationAction(act, ("flight",), {"loud": True}, "act").execute()
    assert done == ["flight True"]
    with pytest.raises(KeyError):
        await CompensationAction(fail, (), {}, "fail").execute()
