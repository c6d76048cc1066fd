"""Cancelling what is cancelled, rolled back or run by another worker, or ends at the same moment."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from edda import WorkflowContext, activity, register_compensation, sleep, workflow
from edda.app import EddaApp
from edda.exceptions import LockLostError
from tests.support.apps import Apps, engine_of, instance, reached, steps_of, stop_claiming
from tests.support.eventually import eventually, pause, until
from tests.support.rows import steal
from tests.support.sagas import compensated
from tests.support.statements import counted
from tests.support.trips import cancel, do, entered, held, held_at, note, told, trip, undo

# -- twice, late, and elsewhere ---------------------------------------------------------------------


async def test_two_requests_at_the_same_time_end_it_once(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await do(ctx, "flight")
        await sleep(ctx, 100)

    instance_id = await flow.start()
    answers = await asyncio.gather(cancel(app, instance_id, by="one"), cancel(app, instance_id, by="other"))
    assert list(answers) == [True, True]
    assert await compensated(app, instance_id) == ["undo"]
    output: Any = (await instance(app, instance_id))["output_data"]
    assert output["cancelled_by"] == "one"


async def test_of_a_chain_the_live_end_is_cancelled_and_only_its_own_deeds_undone(app: EddaApp) -> None:
    ids: list[str] = []

    @workflow
    async def turns(ctx: WorkflowContext, turn: int = 1) -> None:
        ids.append(ctx.instance_id)
        await do(ctx, f"turn {turn}")
        if turn == 1:
            await ctx.recur(turn=2)
        await sleep(ctx, 100)

    first = await turns.start()
    assert not await cancel(app, first)
    live = ids[-1]
    assert live != first
    assert await cancel(app, live)
    assert (await instance(app, live))["status"] == "cancelled"
    assert (await instance(app, first))["status"] == "recurred"
    assert entered == ["turn 1", "turn 2", "undo turn 2"]


async def test_a_run_that_asks_for_a_successor_after_the_request_gets_none(app: EddaApp) -> None:
    @workflow
    async def turning(ctx: WorkflowContext) -> None:
        try:
            await do(ctx, "flight")
        finally:
            await ctx.recur()

    instance_id, start = await held_at(app, "flight", turning.start)
    cancelling = asyncio.create_task(cancel(app, instance_id))
    await told(app, instance_id)
    held["flight"].set()
    assert await cancelling
    assert await start == instance_id
    assert (await instance(app, instance_id))["status"] == "cancelled"
    assert entered == ["flight", "undo flight"]


async def test_what_is_being_rolled_back_cannot_be_cancelled(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await do(ctx, "flight")
        raise ValueError("no")

    instance_id, start = await held_at(app, "undo flight", flow.start)
    assert not await cancel(app, instance_id)
    held["undo flight"].set()
    with pytest.raises(ValueError, match="no"):
        await start
    assert (await instance(app, instance_id))["status"] == "failed"


async def test_another_worker_tells_the_one_that_runs_it_with_its_next_renewal(apps: Apps) -> None:
    runs, other = await apps.start(), await apps.start()
    instance_id, start = await held_at(runs, "flight", trip.start)
    cancelling = asyncio.create_task(cancel(other, instance_id))
    await requested(other, instance_id)
    runs._require_worker()._leases.wake()  # which is not due for seconds
    await told(runs, instance_id)
    held["flight"].set()
    assert await cancelling
    assert await start == instance_id
    assert (await instance(other, instance_id))["status"] == "cancelled"
    assert entered == ["flight", "undo flight"]


async def test_a_run_that_does_not_know_yet_is_told_by_its_next_write(apps: Apps) -> None:
    runs, other = await apps.start(), await apps.start()
    instance_id, start = await held_at(runs, "flight", trip.start)
    cancelling = asyncio.create_task(cancel(other, instance_id))
    await requested(other, instance_id)
    held["flight"].set()
    assert await cancelling
    assert await start == instance_id
    assert entered == ["flight", "undo flight"]
    assert ("do:1", "ActivityCompleted") in await steps_of(other, instance_id)


async def requested(app: EddaApp, instance_id: str) -> None:
    """Wait until the request to cancel is stored."""

    async def check() -> None:
        assert ("workflow_cancelled", "WorkflowCancelled") in await steps_of(app, instance_id)

    await eventually(check)


async def test_whoever_takes_it_over_ends_it_and_does_not_run_the_body(apps: Apps) -> None:
    runs, other = await apps.start(), await apps.start()
    instance_id, start = await held_at(runs, "hotel", trip.start)
    await stop_claiming(runs, other)  # else they might take it over before it is cancelled
    await steal(runs, instance_id)
    assert await cancel(other, instance_id)
    assert entered == ["flight", "hotel", "undo flight"]
    held["hotel"].set()
    with pytest.raises(LockLostError):
        await start
    row = await instance(other, instance_id)
    assert row["status"] == "cancelled"
    assert "do:2" not in [step_id for step_id, _ in await steps_of(other, instance_id)]


async def test_what_is_registered_before_an_effect_is_undone_whatever_became_of_it(apps: Apps) -> None:
    """The worker loses its lease, as if it had died, inside the step; the instance is cancelled meanwhile."""
    runs, other = await apps.start(), await apps.start()

    @workflow
    async def careful(ctx: WorkflowContext) -> None:
        await register_compensation(ctx, undo, "flight, if there is one")
        await note_step(ctx, "flight")

    @activity
    async def note_step(ctx: WorkflowContext, name: str) -> None:
        await note(name)

    instance_id, start = await held_at(runs, "flight", careful.start)
    await stop_claiming(runs, other)
    await steal(runs, instance_id)
    assert await cancel(other, instance_id)
    assert entered == ["flight", "undo flight, if there is one"]
    held["flight"].set()
    with pytest.raises(LockLostError):
        await start


async def test_a_request_of_each_of_two_workers_ends_it_once(apps: Apps) -> None:
    one, other = await apps.start(), await apps.start()

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await do(ctx, "flight")
        await sleep(ctx, 100)

    with one.activate():
        ids = [await flow.start() for _ in range(5)]
    for instance_id in ids:
        answers = await asyncio.gather(*(cancel(app, instance_id) for app in (one, other)))
        assert True in answers  # the other one may come too late
        assert (await instance(one, instance_id))["status"] == "cancelled"
        assert await compensated(one, instance_id) == ["undo"]
    assert entered.count("undo flight") == len(ids)


async def test_a_shutdown_leaves_the_cancellation_to_the_next_worker(apps: Apps) -> None:
    app = await apps.start()
    instance_id, start = await held_at(app, "flight", trip.start)
    cancelling = asyncio.create_task(cancel(app, instance_id))
    await told(app, instance_id)
    stopping = asyncio.create_task(app.shutdown())
    await eventually(lambda: check_draining(app))
    held["flight"].set()
    await stopping
    assert await cancelling
    with pytest.raises(RuntimeError, match="shutting down"):
        await start
    await app.initialize()
    await reached(app, instance_id, "cancelled")
    assert entered == ["flight", "undo flight"]


def check_draining(app: EddaApp) -> None:
    assert app.replay_engine is None


async def test_completion_and_cancellation_exclude_each_other(app: EddaApp) -> None:
    @workflow
    async def quick(ctx: WorkflowContext) -> str:
        await do(ctx, "flight")
        return "booked"

    async def one_race(number: int) -> bool:
        instance_id = f"quick-{number}"
        start = asyncio.create_task(engine_of(app).start(quick, {}, None, instance_id=instance_id))
        await until(lambda: instance_id in engine_of(app)._running or start.done())
        await pause(random.uniform(0, 0.03))
        cancelled = await cancel(app, instance_id)
        await start
        row = await instance(app, instance_id)
        assert (row["status"], row["locked_by"]) == ("cancelled" if cancelled else "completed", None)
        return cancelled

    answers: list[bool] = []
    for first in range(0, 100, 20):
        answers += await asyncio.gather(*(one_race(number) for number in range(first, first + 20)))
    assert entered.count("flight") - entered.count("undo flight") == answers.count(False)


async def test_cancelling_costs_a_run_nothing_while_nobody_asks(app: EddaApp) -> None:
    await trip.start()
    with counted() as seen:
        await trip.start()
    assert seen.commits == 5
    assert seen.containing("cancel_token") == [text for text in seen.texts if "skip locked" in text.lower()]
