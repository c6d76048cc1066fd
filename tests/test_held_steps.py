"""A step that is not recorded, in a body with branches that no longer reaches steps that are."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

import edda
from edda import WorkflowContext, activity, race, sleep, workflow
from edda.app import EddaApp
from edda.exceptions import NonDeterminismError
from tests.support.apps import Apps, always_replay, engine_of, instance, reached, result_of, steps_of
from tests.support.branching import ids
from tests.support.eventually import eventually
from tests.support.noting import calls, note

Branch = Callable[[WorkflowContext], Coroutine[Any, Any, Any]]
Body = Callable[[WorkflowContext], Awaitable[Any]]
Shape = Callable[[WorkflowContext, Branch, Branch], Awaitable[Any]]


@activity
async def reserve(ctx: WorkflowContext) -> None:
    calls.append("reserve")


@activity
async def book(ctx: WorkflowContext) -> None:
    calls.append("book")


@activity
async def extra(ctx: WorkflowContext) -> None:
    calls.append("extra")


# -- how a body can have branches ------------------------------------------------------------


async def gathered(ctx: WorkflowContext, first: Branch, second: Branch) -> None:
    await asyncio.gather(first(ctx), second(ctx))


async def gathered_in_a_gather(ctx: WorkflowContext, first: Branch, second: Branch) -> None:
    await asyncio.gather(asyncio.gather(first(ctx), note(ctx, "beside")), second(ctx))


async def gathered_by_edda(ctx: WorkflowContext, first: Branch, second: Branch) -> None:
    await edda.gather(first(ctx), second(ctx), limit=2)


async def gathered_one_at_a_time(ctx: WorkflowContext, first: Branch, second: Branch) -> None:
    await edda.gather(note(ctx, "before"), first(ctx), second(ctx), limit=1)


async def grouped(ctx: WorkflowContext, first: Branch, second: Branch) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(first(ctx))
        group.create_task(second(ctx))


async def awaited_later(ctx: WorkflowContext, first: Branch, second: Branch) -> None:
    task = asyncio.create_task(first(ctx))
    await second(ctx)
    await task


async def waited_for(ctx: WorkflowContext, first: Branch, second: Branch) -> None:
    tasks = [asyncio.create_task(first(ctx)), asyncio.create_task(second(ctx))]
    await asyncio.wait(tasks)


async def shielded(ctx: WorkflowContext, first: Branch, second: Branch) -> None:
    await asyncio.gather(asyncio.shield(first(ctx)), second(ctx))


async def raced(ctx: WorkflowContext, first: Branch, second: Branch) -> None:
    await race(ctx, first(ctx), second(ctx))


async def raced_in_a_gather(ctx: WorkflowContext, first: Branch, second: Branch) -> None:
    await asyncio.gather(race(ctx, first(ctx), sleep(ctx, 3600)), second(ctx))


SHAPES = [
    gathered,
    gathered_in_a_gather,
    gathered_by_edda,
    gathered_one_at_a_time,
    grouped,
    awaited_later,
    waited_for,
    shielded,
    raced,
    raced_in_a_gather,
]

# -- how its code can change -----------------------------------------------------------------


async def old(ctx: WorkflowContext) -> None:
    await reserve(ctx)
    await sleep(ctx, 3600, timer_id="first pause")


async def renamed(ctx: WorkflowContext) -> None:
    await book(ctx)
    await sleep(ctx, 3600, timer_id="first pause")


async def inserted(ctx: WorkflowContext) -> None:
    await book(ctx)
    await old(ctx)


async def inserted_in_a_block(ctx: WorkflowContext) -> None:
    async with ctx.transaction():
        await book(ctx)
    await old(ctx)


async def other(ctx: WorkflowContext) -> None:
    await note(ctx, "other")
    await sleep(ctx, 3600, timer_id="second pause")


def changing(body: Body) -> tuple[Any, Callable[[Body], None]]:
    """A workflow whose code can be exchanged as by a deployment."""
    code = body

    @workflow
    async def held_flow(ctx: WorkflowContext) -> Any:
        await code(ctx)
        return "done"

    def deploy(new: Body) -> None:
        nonlocal code
        code = new

    return held_flow, deploy


def body_of(shape: Shape, first: Branch, second: Branch = other) -> Body:
    async def body(ctx: WorkflowContext) -> None:
        await shape(ctx, first, second)

    return body


async def is_refused(app: EddaApp, flow: Any, instance_id: str, *, unreached: str, attempted: str) -> None:
    """The code of now is an error before anything of it is executed or recorded."""
    called, recorded = [*calls], await steps_of(app, instance_id)
    with pytest.raises(NonDeterminismError) as caught:
        await flow.resume(instance_id)
    assert f"step '{unreached}' is recorded as" in str(caught.value)
    assert f"as new step '{attempted}' at {__file__}:" in str(caught.value)
    assert calls == called
    assert await steps_of(app, instance_id) == recorded


@pytest.mark.parametrize("changed", [renamed, inserted, inserted_in_a_block])
@pytest.mark.parametrize("shape", SHAPES)
async def test_a_new_step_in_a_branch_is_neither_executed_nor_recorded(
    app: EddaApp, shape: Shape, changed: Branch
) -> None:
    flow, deploy = changing(body_of(shape, old))
    always_replay(app)
    instance_id = await flow.start()
    deploy(body_of(shape, changed))

    branch = "race:1/0/" if shape in (raced, raced_in_a_gather) else ""
    new = "transaction:1" if changed is inserted_in_a_block else "book:1"
    await is_refused(app, flow, instance_id, unreached=f"{branch}reserve:1", attempted=f"{branch}{new}")
    deploy(body_of(shape, old))
    await flow.resume(instance_id)
    assert "book" not in calls
    assert calls.count("reserve") == 1


async def removed(ctx: WorkflowContext) -> None:
    await sleep(ctx, 3600, timer_id="first pause")


async def other_and_more(ctx: WorkflowContext) -> None:
    await note(ctx, "other")
    await extra(ctx)
    await sleep(ctx, 3600, timer_id="second pause")


@pytest.mark.parametrize("shape", [gathered, gathered_by_edda, grouped, awaited_later])
async def test_a_step_that_one_branch_has_lost_keeps_back_what_is_new_in_another(
    app: EddaApp, shape: Shape
) -> None:
    flow, deploy = changing(body_of(shape, old))
    always_replay(app)
    instance_id = await flow.start()
    deploy(body_of(shape, removed, other_and_more))

    await is_refused(app, flow, instance_id, unreached="reserve:1", attempted="extra:1")
    deploy(body_of(shape, old))
    await flow.resume(instance_id)
    assert "extra" not in calls


async def test_a_step_that_is_new_at_the_end_of_the_winner_of_a_race_is_refused(app: EddaApp) -> None:
    async def raced_once(ctx: WorkflowContext, first: Branch) -> None:
        await race(ctx, first(ctx), sleep(ctx, 3600))
        await sleep(ctx, 3600)

    async def winner(ctx: WorkflowContext) -> None:
        await reserve(ctx)

    async def slower_winner(ctx: WorkflowContext) -> None:
        await reserve(ctx)
        await book(ctx)

    flow, deploy = changing(lambda ctx: raced_once(ctx, winner))
    always_replay(app)
    instance_id = await flow.start()
    deploy(lambda ctx: raced_once(ctx, slower_winner))

    await is_refused(app, flow, instance_id, unreached="race:1", attempted="race:1/0/book:1")
    deploy(lambda ctx: raced_once(ctx, winner))
    await flow.resume(instance_id)
    assert calls == ["reserve"]


async def test_the_code_of_before_completes_it(app: EddaApp) -> None:
    async def short(ctx: WorkflowContext) -> None:
        await reserve(ctx)
        await sleep(ctx, 0.3, timer_id="first pause")

    async def short_and_renamed(ctx: WorkflowContext) -> None:
        await book(ctx)
        await sleep(ctx, 0.3, timer_id="first pause")

    flow, deploy = changing(body_of(gathered, short, reserve))
    always_replay(app)
    instance_id = await flow.start()
    deploy(body_of(gathered, short_and_renamed, reserve))

    async def set_aside() -> None:
        row = await app.storage.load_instance(instance_id)
        assert row is not None
        assert str(row.last_error).startswith("NonDeterminismError: Workflow 'held_flow' does not match")

    await eventually(set_aside)
    deploy(body_of(gathered, short, reserve))
    assert await result_of(app, instance_id) == "done"
    assert calls == ["reserve", "reserve"]


# -- while something may still happen --------------------------------------------------------


class Waiting:
    """A branch that waits for something outside of the library, before the step that is recorded."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.event.set()

    async def __call__(self, ctx: WorkflowContext) -> None:
        await self.event.wait()
        await note(ctx, "waited for")


def held_in(app: EddaApp, instance_id: str) -> list[Any]:
    """The steps that are held back in the run of this instance."""
    execution = engine_of(app).run_of(instance_id)
    return [] if execution is None else [held.step_id for held in execution.run.turnstile._held]  # type: ignore[attr-defined]


async def held_back(app: EddaApp, body: Body, changed: Body, waiting: Waiting) -> tuple[Any, str, Any]:
    """A run that holds a step back; the workflow, its instance, and the task that resumes it."""
    flow, deploy = changing(body)
    always_replay(app)
    instance_id = await flow.start()
    waiting.event.clear()
    deploy(changed)
    resuming = asyncio.create_task(flow.resume(instance_id))

    def check() -> None:
        assert held_in(app, instance_id) == ["book:1"]

    await eventually(check)
    return deploy, instance_id, resuming


async def new_beside(ctx: WorkflowContext) -> None:
    await book(ctx)
    await sleep(ctx, 3600)


async def test_it_is_held_back_and_the_log_says_so(
    app: EddaApp, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("edda.held_steps._WARN_AFTER", 0.0)
    waiting = Waiting()
    body = body_of(gathered, waiting)
    _, instance_id, resuming = await held_back(app, body, body_of(gathered, waiting, new_beside), waiting)

    def warned() -> None:
        found = [record for record in caplog.records if record.name == "edda.held_steps"]
        assert [record.levelno for record in found] == [logging.WARNING] * len(found) != []
        text = found[0].getMessage()
        assert text.startswith(f"Step 'book:1' of {instance_id} (activity 'book' at {__file__}:")
        assert "has not reached step 'note:2'" in text or "has not reached step 'note:1'" in text

    await eventually(warned)
    row = await instance(app, instance_id)
    assert row["status"] == "running"
    await engine_of(app).leases.renew()
    assert held_in(app, instance_id) == ["book:1"]
    assert calls == ["waited for", "other"]
    resuming.cancel()


async def test_what_is_reached_after_all_lets_it_go(app: EddaApp) -> None:
    waiting = Waiting()

    body = body_of(gathered, waiting, sleeping)
    _, instance_id, resuming = await held_back(app, body, body_of(gathered, waiting, new_beside), waiting)
    waiting.event.set()
    await resuming
    assert calls == ["waited for", "book"]
    assert ids(await steps_of(app, instance_id)) == ["note:1", "book:1"]


async def sleeping(ctx: WorkflowContext) -> None:
    await sleep(ctx, 3600)


async def test_it_is_an_error_once_there_is_nothing_left_to_wait_for(app: EddaApp) -> None:
    waiting = Waiting()

    async def without_steps(ctx: WorkflowContext) -> None:
        await waiting.event.wait()

    body, changed = body_of(gathered, old, without_steps), body_of(gathered, renamed, without_steps)
    _, _, resuming = await held_back(app, body, changed, waiting)
    waiting.event.set()
    with pytest.raises(NonDeterminismError, match="'reserve:1' is recorded"):
        await resuming
    assert calls == ["reserve"]


async def test_a_worker_that_stops_hands_it_back(apps: Apps) -> None:
    waiting = Waiting()
    body = body_of(gathered, waiting)
    first = await apps.start()
    deploy, instance_id, resuming = await held_back(
        first, body, body_of(gathered, waiting, new_beside), waiting
    )
    await first.shutdown()
    await asyncio.wait({resuming})
    assert resuming.exception() is not None
    assert calls == ["waited for", "other"]

    deploy(body)
    waiting.event.set()
    second = await apps.start()
    await reached(second, instance_id, "waiting_for_timer")
    assert calls == ["waited for", "other"]


async def test_an_instance_that_is_cancelled_meanwhile_ends(app: EddaApp) -> None:
    waiting = Waiting()
    body = body_of(gathered, waiting)
    _, instance_id, resuming = await held_back(app, body, body_of(gathered, waiting, new_beside), waiting)
    await engine_of(app).cancel_workflow(instance_id)
    waiting.event.set()
    await reached(app, instance_id, "cancelled")
    await asyncio.wait({resuming})
    assert "book" not in calls
