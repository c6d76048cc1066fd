"""A rollback that changes hands: what is recorded is not repeated, and the end was fixed before."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select

from edda import RetryPolicy, WorkflowContext, activity, on_failure, workflow
from edda.app import EddaApp
from edda.codec.json import dumps
from edda.exceptions import LockLostError, NonDeterminismError
from edda.rollback import ending_in
from edda.storage.models import workflow_instances
from edda.storage.records import HistoryRecord
from edda.types import EventType, Status
from tests.support.apps import Apps, engine_of, instance, reached, stop_claiming
from tests.support.eventually import eventually, until
from tests.support.rows import steal, storage_of
from tests.support.sagas import Recorder, failed_id, outcomes

entered: list[str] = []
held: dict[str, asyncio.Event] = {}


@pytest.fixture(autouse=True)
def _forget() -> None:
    entered.clear()
    held.clear()


async def undo(ctx: WorkflowContext, name: str) -> None:
    entered.append(name)
    if name in held:
        await held[name].wait()


@activity
@on_failure(undo)
async def do(ctx: WorkflowContext, name: str) -> None: ...


@workflow
async def whole_trip(ctx: WorkflowContext) -> None:
    entered.append("body")
    for name in ("flight", "hotel", "car"):
        await do(ctx, name)
    raise ValueError("no card")


async def interrupted(app: EddaApp, where: str) -> tuple[str, asyncio.Task[str]]:
    """Start a trip and wait until it undoes this; returns its id and the task that waits for it."""
    held[where] = asyncio.Event()
    start = asyncio.create_task(whole_trip.start())

    def check() -> None:
        assert entered[-1:] == [where]

    await eventually(check)
    (instance_id,) = engine_of(app)._running
    return instance_id, start


async def test_while_it_is_undone_the_end_is_fixed_and_shown(app: EddaApp) -> None:
    instance_id, start = await interrupted(app, "hotel")
    row = await instance(app, instance_id)
    output: Any = row["output_data"]
    assert (row["status"], output["error_message"]) == ("compensating", "no card")
    assert (row["locked_by"], row["current_activity_id"]) == (app.worker_id, "compensation_3")
    held["hotel"].set()
    with pytest.raises(ValueError, match="no card") as raised:
        await start
    assert raised.value.instance_id == instance_id  # type: ignore[attr-defined]


async def test_another_worker_executes_only_what_is_missing_and_never_the_body(apps: Apps) -> None:
    first = await apps.start()
    instance_id, start = await interrupted(first, "hotel")
    await stop_claiming(first)
    await steal(first, instance_id)
    waiting = held.pop("hotel")
    recorder = Recorder()
    second = await apps.start(hooks=recorder)
    row = await reached(second, instance_id, "failed")
    output: Any = row["output_data"]
    assert (output["error_type"], output["error_message"]) == ("ValueError", "no card")
    assert entered == ["body", "car", "hotel", "hotel", "flight"]
    assert [step_id for step_id, *_ in await outcomes(second, instance_id)] == [
        "compensation_3",
        "compensation_2",
        "compensation_1",
    ]
    await recorder.ends_with("on_workflow_failed", "whole_trip")  # told after the commit that `reached` saw
    waiting.set()  # its worker has lost the lease meanwhile
    with pytest.raises(LockLostError):
        await start
    assert len(await outcomes(second, instance_id)) == 3


async def test_a_shutdown_hands_the_rest_to_the_next_worker(apps: Apps) -> None:
    app = await apps.start()
    instance_id, start = await interrupted(app, "hotel")
    engine = engine_of(app)
    stopping = asyncio.create_task(app.shutdown())
    await until(lambda: engine._draining)
    held["hotel"].set()
    await stopping
    with pytest.raises(RuntimeError, match="shutting down"):
        await start
    await app.initialize()
    await reached(app, instance_id, "failed")
    assert entered == ["body", "car", "hotel", "flight"]


async def test_resuming_it_finishes_it_and_raises_the_error_of_the_body(apps: Apps) -> None:
    first = await apps.start()
    instance_id, start = await interrupted(first, "car")
    await stop_claiming(first)
    await steal(first, instance_id)
    waiting = held.pop("car")
    with pytest.raises(ValueError, match="no card"):
        await engine_of(first).resume_by_name(instance_id, "whole_trip")
    assert entered == ["body", "car", "car", "hotel", "flight"]
    waiting.set()
    with pytest.raises(LockLostError):
        await start


async def test_a_long_back_off_parks_it_and_its_attempts_go_on(apps: Apps) -> None:
    app = await apps.start()
    attempts: list[int] = []

    @activity(retry_policy=RetryPolicy(initial_interval=5.0, max_attempts=2))
    async def fragile(ctx: WorkflowContext) -> None:
        attempts.append(1)
        raise OSError("no answer")

    @activity
    @on_failure(fragile)
    async def book(ctx: WorkflowContext) -> None: ...

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await book(ctx)
        raise ValueError("no")

    instance_id = await flow.start()
    row = await instance(app, instance_id)
    assert (row["status"], row["locked_by"], attempts) == ("compensating", None, [1])
    [wait] = await app.storage.load_waits(instance_id)
    assert (wait.activity_id, wait.remaining and wait.remaining > 3) == ("compensation_1", True)
    assert row["current_activity_id"] == "compensation_1"


async def test_what_cannot_be_found_is_a_recorded_failure(
    app: EddaApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edda.local_functions.find", lambda reference: None)
    monkeypatch.setattr("edda.run.hold_functions", lambda *_: None)
    [*_, (_, kind, data)] = await outcomes(app, await failed_id(whole_trip))
    assert (kind, data["error_type"]) == ("CompensationFailed", "LookupError")
    assert data["error_message"] == "Compensation function 'undo' not found"


async def test_an_error_of_the_rollback_itself_sets_the_instance_aside(
    app: EddaApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: Any) -> None:
        raise KeyError("a defect of ours")

    monkeypatch.setattr("edda.rollback.compensate", fails)
    with pytest.raises(KeyError):
        await whole_trip.start()
    (record,) = [row for row in await _instances(app) if row["workflow_name"] == "whole_trip"]
    assert record["status"] == "compensating"
    monkeypatch.undo()
    await reached(app, str(record["instance_id"]), "failed")
    assert entered == ["body", "car", "hotel", "flight"]


async def _instances(app: EddaApp) -> list[Any]:
    async with storage_of(app).engine.connect() as connection:
        return list((await connection.execute(select(*workflow_instances.c))).mappings())


# -- the end that a history fixes ----------------------------------------------------------------


def row(event_type: EventType, **fields: Any) -> HistoryRecord:
    return HistoryRecord(0, "i-1", "x", event_type, dumps(fields), datetime(2024, 1, 1, tzinfo=UTC))


def test_a_cancelled_instance_keeps_who_cancelled_it() -> None:
    ending = ending_in("i-1", [row(EventType.WORKFLOW_CANCELLED, cancelled_by="user")])
    assert (ending.status, ending.output, ending.error) == (Status.CANCELLED, {"cancelled_by": "user"}, None)


def test_a_history_without_an_end_is_an_error() -> None:
    with pytest.raises(NonDeterminismError, match="The history of i-1 does not say"):
        ending_in("i-1", [row(EventType.ACTIVITY_COMPLETED)])
