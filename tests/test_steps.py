"""The one implementation of a durable operation."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from pydantic import BaseModel, field_validator

from edda import WorkflowContext, activity, sleep, workflow
from edda.app import EddaApp
from edda.exceptions import NonDeterminismError, StoredValueError
from tests.support.apps import always_replay, instance, reached, result_of, steps_of
from tests.support.noting import calls, note

DONE = "ActivityCompleted"


@activity
async def mark(ctx: WorkflowContext, text: str) -> str:
    calls.append(text)
    return text


async def test_steps_are_numbered_by_name_in_the_order_of_their_calls(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await note(ctx, "a")
        await mark(ctx, "b")
        await note(ctx, "c")

    instance_id = await flow.start()

    assert await steps_of(app, instance_id) == [("note:1", DONE), ("mark:1", DONE), ("note:2", DONE)]


async def test_ids_are_taken_when_called_and_not_when_awaited(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> list[str]:
        first, second = note(ctx, "first"), note(ctx, "second")
        return [await second, await first]

    instance_id = await flow.start()

    assert await steps_of(app, instance_id) == [("note:2", DONE), ("note:1", DONE)]
    assert await result_of(app, instance_id) == ["second", "first"]


async def test_an_id_given_by_hand_is_used_as_it_is(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await note(ctx, "a", activity_id="chosen")
        await note(ctx, "b")

    instance_id = await flow.start()

    assert await steps_of(app, instance_id) == [("chosen", DONE), ("note:1", DONE)]


async def test_automatic_ids_pass_over_one_given_by_hand(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await note(ctx, "a", activity_id="note:1")
        await note(ctx, "b")

    instance_id = await flow.start()

    assert await steps_of(app, instance_id) == [("note:1", DONE), ("note:2", DONE)]


async def test_an_id_used_twice_is_refused_and_the_second_function_not_called(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await note(ctx, "a", activity_id="same")
        await mark(ctx, "b", activity_id="same")

    with pytest.raises(ValueError) as caught:
        await flow.start()

    assert str(caught.value) == "Activity ID 'same' is already used in this workflow run"
    assert calls == ["a"]
    await reached(app, caught.value.instance_id, "failed")  # type: ignore[attr-defined]


async def test_a_body_can_go_on_after_an_id_used_twice(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> str:
        await note(ctx, "a", activity_id="same")
        with pytest.raises(ValueError, match="already used"):
            await note(ctx, "b", activity_id="same")
        await sleep(ctx, 0.01)
        return await note(ctx, "c")

    always_replay(app)
    instance_id = await flow.start()

    assert await result_of(app, instance_id) == "c"
    assert calls == ["a", "c"]


async def test_a_recorded_step_is_returned_and_not_run_again(app: EddaApp) -> None:
    passes: list[bool] = []

    @workflow
    async def flow(ctx: WorkflowContext) -> list[str]:
        before = await note(ctx, "a")
        passes.append(ctx.is_replaying)
        await sleep(ctx, 0.01)
        return [before, await note(ctx, "b")]

    always_replay(app)
    instance_id = await flow.start()

    assert await result_of(app, instance_id) == ["a", "b"]
    assert calls == ["a", "b"]
    assert passes == [False, True]


async def test_a_timer_in_the_place_of_an_activity_stops_the_run_with_both_named(app: EddaApp) -> None:
    renamed = False

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        if renamed:
            await sleep(ctx, 0, timer_id="step")
        else:
            await note(ctx, "a", activity_id="step")
        await sleep(ctx, 3600)

    always_replay(app)
    instance_id = await flow.start()
    renamed = True

    with pytest.raises(NonDeterminismError) as caught:
        await flow.resume(instance_id)

    text = str(caught.value)
    assert instance_id in text
    assert "'step' is recorded as ActivityCompleted" in text
    assert "the code attempts sleep 'step'" in text
    assert f"{__file__}:" in text, "the line of the attempted step"


async def test_swapped_activities_execute_nothing_and_leave_the_instance_live(app: EddaApp) -> None:
    swapped = False

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        first, second = (mark, note) if swapped else (note, mark)
        await first(ctx, "a", activity_id="one")
        await second(ctx, "b", activity_id="two")
        await sleep(ctx, 3600)

    always_replay(app)
    instance_id = await flow.start()
    swapped = True
    with pytest.raises(NonDeterminismError):
        await flow.resume(instance_id)

    assert calls == ["a", "b"]
    row = await instance(app, instance_id)
    assert row["status"] not in ("failed", "completed")
    assert row["locked_by"] is None
    assert [step for step, _ in await steps_of(app, instance_id)] == ["one", "two"]


async def test_the_line_of_the_call_is_named_although_the_step_runs_in_a_task_of_its_own(
    app: EddaApp,
) -> None:
    swapped = False

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        first, second = (mark, note) if swapped else (note, mark)
        await asyncio.gather(first(ctx, "a", activity_id="one"), second(ctx, "b", activity_id="two"))
        await sleep(ctx, 3600)

    always_replay(app)
    instance_id = await flow.start()
    swapped = True
    line = flow.func.__code__.co_firstlineno + 3
    with pytest.raises(NonDeterminismError, match=f"{re.escape(__file__)}:{line}"):
        await flow.resume(instance_id)


async def test_a_body_cannot_swallow_that_it_does_not_match_its_history(app: EddaApp) -> None:
    renamed = False

    @workflow
    async def flow(ctx: WorkflowContext) -> str:
        step = mark if renamed else note
        try:
            await step(ctx, "a", activity_id="step")
            await sleep(ctx, 3600)
        except Exception:  # noqa: BLE001 - what users write
            return "swallowed"
        return "done"

    always_replay(app)
    instance_id = await flow.start()
    renamed = True

    with pytest.raises(NonDeterminismError):
        await flow.resume(instance_id)
    assert calls == ["a"]


async def test_gathered_steps_get_their_ids_in_the_order_of_the_calls(app: EddaApp) -> None:
    gates = {text: asyncio.Event() for text in "abc"}

    @activity
    async def gated(ctx: WorkflowContext, text: str) -> str:
        await gates[text].wait()
        if text != "a":
            gates[chr(ord(text) - 1)].set()
        return text

    @workflow
    async def flow(ctx: WorkflowContext) -> list[str]:
        gates["c"].set()
        return await asyncio.gather(*(gated(ctx, text) for text in "abc"))

    instance_id = await flow.start()

    rows = await app.storage.get_history(instance_id)
    assert [row["activity_id"] for row in rows] == ["gated:3", "gated:2", "gated:1"]
    assert await result_of(app, instance_id) == ["a", "b", "c"]


class Picky(BaseModel):
    """What its newer versions no longer accept."""

    size: int

    @field_validator("size")
    @classmethod
    def _check(cls, size: int) -> int:
        if size > limits[-1]:
            raise ValueError("too large by now")
        return size


limits = [10]


async def test_a_step_whose_value_is_no_longer_accepted_is_named_with_its_instance(tmp_path: Path) -> None:
    @activity
    async def measure(ctx: WorkflowContext) -> Picky:
        return Picky(size=7)

    @workflow
    async def measuring(ctx: WorkflowContext) -> None:
        await measure(ctx)
        await sleep(ctx, 3600)

    app = EddaApp("tests", f"sqlite:///{tmp_path / 'picky.db'}")
    app.resident_limit = 0
    async with app:
        instance_id = await measuring.start()
        limits.append(5)
        try:
            with pytest.raises(StoredValueError, match="too large by now") as caught:
                await measuring.resume(instance_id)
        finally:
            limits.pop()
        assert str(caught.value).startswith(f"Step 'measure:1' of instance {instance_id} cannot be restored")
        await measuring.resume(instance_id)
