"""Who ends an instance whose body is over, and what becomes of it when that cannot be done."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from edda import RetryPolicy, WorkflowContext, activity, register_compensation, sleep, workflow
from edda.app import EddaApp
from edda.exceptions import StorageError
from edda.replay import ReplayEngine
from edda.storage.records import ClaimedInstance
from edda.storage.writes import RollbackReopened, RunReleased
from tests.support.apps import Apps, engine_of, instance, reached, steps_of
from tests.support.sagas import Recorder, failed_id
from tests.support.trips import cancel, do, entered, held, held_at, trip


@workflow
async def resting(ctx: WorkflowContext, books: bool = True) -> None:
    if books:
        await do(ctx, "flight")
    await sleep(ctx, 100)


def know_nothing(monkeypatch: pytest.MonkeyPatch, engine: ReplayEngine) -> None:
    """Make this worker one that has none of the workflows."""
    monkeypatch.setattr(engine, "find", lambda name: None)
    monkeypatch.setattr(engine, "workflow_names", list)


async def test_a_worker_that_does_not_know_the_workflow_leaves_the_rest_to_one_that_does(
    apps: Apps, monkeypatch: pytest.MonkeyPatch
) -> None:
    knowing = await apps.start()
    instance_id = await resting.start()
    other = await apps.start()
    know_nothing(monkeypatch, engine_of(other))
    assert await cancel(other, instance_id)
    row = await reached(knowing, instance_id, "cancelled")
    output: Any = row["output_data"]
    assert output["cancelled_by"] == "user"
    assert entered == ["flight", "undo flight"]


async def test_with_nothing_to_undo_any_worker_ends_it(apps: Apps, monkeypatch: pytest.MonkeyPatch) -> None:
    app = await apps.start()
    instance_id = await resting.start(books=False)
    know_nothing(monkeypatch, engine_of(app))
    assert await cancel(app, instance_id)
    assert (await instance(app, instance_id))["status"] == "cancelled"


@pytest.mark.parametrize("when", ["after the body", "as a take-over"])
async def test_what_cannot_be_loaded_is_set_aside_and_tried_again(
    apps: Apps, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    app = await apps.start()
    if when == "as a take-over":
        instance_id = await resting.start()
    else:
        instance_id, start = await held_at(app, "flight", trip.start)

    async def fails(_: str) -> Any:
        raise StorageError("away")

    monkeypatch.setattr(app.storage, "load_history", fails)
    cancelling = asyncio.create_task(cancel(app, instance_id))
    if when == "after the body":
        while not engine_of(app)._running[instance_id].run.cancelled:
            await asyncio.sleep(0)
        held["flight"].set()
        with pytest.raises(StorageError):
            await start
    assert await cancelling
    record = await app.storage.load_instance(instance_id)
    assert record is not None
    assert (record.locked_by, record.attempts, record.last_error) == (None, 1, "StorageError: away")
    monkeypatch.undo()
    await reached(app, instance_id, "cancelled")
    assert entered == ["flight", "undo flight"]


async def test_a_rollback_under_a_lost_lease_changes_nothing(
    apps: Apps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another worker has begun, and ended, the same rollback in between."""
    app = await apps.start()
    instance_id, start = await held_at(app, "flight", trip.start)
    settlement = engine_of(app)._settlement
    begin = settlement.begin_rollback
    other = await apps.start()

    async def late(run: Any, ending: Any) -> Any:
        monkeypatch.undo()
        lease = run.lease
        await engine_of(app)._storage.submit(RunReleased(lease))
        await reached(other, instance_id, "cancelled")
        return await begin(run, ending)

    monkeypatch.setattr(settlement, "begin_rollback", late)
    cancelling = asyncio.create_task(cancel(app, instance_id))
    while not engine_of(app)._running[instance_id].run.cancelled:
        await asyncio.sleep(0)
    held["flight"].set()
    assert await cancelling
    with pytest.raises(Exception, match="Lock lost"):
        await start
    assert entered == ["flight", "undo flight"]
    assert [kind for _, kind in await steps_of(app, instance_id)].count("CompensationExecuted") == 1


# -- failed compensations, once more --------------------------------------------------------------


async def ended_with_failures(
    recorder: Recorder, apps: Apps, *, fails: set[str], cancels: bool
) -> tuple[EddaApp, str]:
    """An instance that booked three places and could not undo some of them."""
    app = await apps.start(hooks=recorder)

    @activity(retry_policy=RetryPolicy(max_attempts=1))
    async def fragile(ctx: WorkflowContext, place: str) -> None:
        entered.append(f"undo {place}")
        if place in fails:
            raise OSError(f"{place} does not answer")

    @workflow
    async def fragile_trip(ctx: WorkflowContext) -> None:
        for place in ("flight", "hotel", "car"):
            await register_compensation(ctx, fragile, place)
        if not cancels:
            raise ValueError("no card")
        await sleep(ctx, 100)

    if not cancels:
        return app, await failed_id(fragile_trip)
    instance_id = await fragile_trip.start()
    assert await cancel(app, instance_id)
    return app, instance_id


@pytest.mark.parametrize("cancels", [False, True])
async def test_failed_compensations_are_executed_again_and_the_others_are_not(
    apps: Apps, cancels: bool
) -> None:
    fails, recorder = {"flight", "hotel"}, Recorder()
    app, instance_id = await ended_with_failures(recorder, apps, fails=fails, cancels=cancels)
    before: Any = (await instance(app, instance_id))["output_data"]
    assert len(before["compensation_errors"]) == 2
    entered.clear()
    told = len(recorder.calls)
    fails.remove("hotel")

    [left] = await engine_of(app).retry_compensations(instance_id)
    assert isinstance(left, dict)
    assert (left["compensation_id"], left["error_message"]) == (1, "flight does not answer")
    assert entered == ["undo hotel", "undo flight"]

    fails.clear()
    assert await engine_of(app).retry_compensations(instance_id) == []
    row = await instance(app, instance_id)
    del before["compensation_errors"]
    assert (row["status"], row["output_data"]) == ("cancelled" if cancels else "failed", before)
    assert entered == ["undo hotel", "undo flight", "undo flight"]
    assert {name for name, *_ in recorder.calls[told:]} == {
        "on_activity_start",
        "on_activity_complete",
        "on_activity_failed",
    }


async def test_a_worker_that_dies_on_them_is_taken_over(apps: Apps, monkeypatch: pytest.MonkeyPatch) -> None:
    fails: set[str] = {"hotel"}
    app, instance_id = await ended_with_failures(Recorder(), apps, fails=fails, cancels=False)
    fails.clear()
    reopened = await app.storage.submit(RollbackReopened("dead", instance_id, -1.0))
    assert isinstance(reopened, ClaimedInstance)
    engine_of(app)._wake_in(0.0)  # a worker that is notified looks less often by itself
    row = await reached(app, instance_id, "failed")
    output: Any = row["output_data"]
    assert "compensation_errors" not in output
    assert entered == ["undo car", "undo hotel", "undo flight", "undo hotel"]


async def test_only_an_instance_that_ended_with_failures_has_something_to_retry(apps: Apps) -> None:
    app = await apps.start()

    @workflow
    async def done(ctx: WorkflowContext) -> None:
        await do(ctx, "flight")

    engine = engine_of(app)
    with pytest.raises(ValueError, match="not found"):
        await engine.retry_compensations("unknown")
    with pytest.raises(ValueError, match="has not ended"):
        await engine.retry_compensations(await resting.start())
    completed, failed = await done.start(), await failed_id(trip_without_card)
    for instance_id in (completed, failed):
        with pytest.raises(ValueError, match="has no failed compensations"):
            await engine.retry_compensations(instance_id)


@workflow
async def trip_without_card(ctx: WorkflowContext) -> None:
    await do(ctx, "flight")
    raise ValueError("no card")
