"""Defects of the library itself while it drives a run: no lease stays, and no body without a driver."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from edda import EddaApp, WorkflowContext, activity, sleep, workflow
from edda.exceptions import WorkflowSignal
from edda.execution import Execution
from edda.settlement import Settlement
from edda.storage.writes import RunReleased
from tests.support.apps import engine_of, instance, reached, result_of
from tests.support.eventually import eventually

contexts: list[WorkflowContext] = []
ended: list[str] = []


@activity
async def note(ctx: WorkflowContext, text: str) -> str:
    return text


@workflow
async def noted_once(ctx: WorkflowContext) -> str:
    contexts.append(ctx)
    return await note(ctx, "done")


@pytest.fixture(autouse=True)
def _forget() -> None:
    contexts.clear()
    ended.clear()


def fail_once(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
    """Let the next call of this method end with an error that no code expects."""
    original = getattr(owner, name)

    async def defective(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr(owner, name, original)
        raise RuntimeError(f"a defect of {name}")

    monkeypatch.setattr(owner, name, defective)


@pytest.mark.parametrize(
    ("owner", "name"), [(Settlement, "settle"), (Settlement, "_complete"), (Execution, "until_settled")]
)
async def test_the_instance_is_set_aside_and_goes_on_in_another_run(
    app: EddaApp,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    owner: type,
    name: str,
) -> None:
    fail_once(monkeypatch, owner, name)

    with pytest.raises(RuntimeError, match=f"a defect of {name}"):
        await noted_once.start()

    record = await app.storage.load_instance(contexts[0].instance_id)
    assert record is not None
    assert (record.status, record.locked_by, record.attempts) == ("running", None, 1)
    assert record.last_error == f"RuntimeError: a defect of {name}"
    assert (len(engine_of(app).leases), engine_of(app).running) == (0, 0)
    (logged,) = [log for log in caplog.records if log.message == f"Error of edda in {record.instance_id}"]
    assert logged.exc_info is not None
    await noted_once.resume(record.instance_id)
    assert await result_of(app, record.instance_id) == "done"


async def test_its_body_is_ended(app: EddaApp, monkeypatch: pytest.MonkeyPatch) -> None:
    @workflow
    async def sleeper(ctx: WorkflowContext) -> None:
        try:
            await sleep(ctx, 3600)
        except WorkflowSignal:
            ended.append("body")
            raise

    fail_once(monkeypatch, Settlement, "_park")
    with pytest.raises(RuntimeError, match="a defect of _park"):
        await sleeper.start()
    await eventually(lambda: _assert(ended == ["body"]))


async def test_if_that_fails_as_well_nobody_renews_the_lease(
    app: EddaApp, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    submit = app.storage.submit

    async def refuse_release(write: Any, **options: Any) -> Any:
        if isinstance(write, RunReleased):
            raise TypeError("another defect")
        return await submit(write, **options)

    monkeypatch.setattr(app.storage, "submit", refuse_release)
    fail_once(monkeypatch, Settlement, "settle")
    with pytest.raises(RuntimeError, match="a defect of settle"):
        await noted_once.start()

    assert (len(engine_of(app).leases), engine_of(app).running) == (0, 0)
    assert "was not handed back; it expires" in caplog.text


@pytest.mark.resident
@pytest.mark.parametrize("moved_by", ["itself", "a claim"])
async def test_a_parked_body_that_cannot_be_woken_is_ended_and_its_instance_set_aside(
    app: EddaApp, monkeypatch: pytest.MonkeyPatch, moved_by: str
) -> None:
    go_on = asyncio.Event()

    @workflow
    async def sleeper(ctx: WorkflowContext) -> str:
        nap = asyncio.create_task(sleep(ctx, 3600))
        try:
            await go_on.wait()
            text = await note(ctx, "woken")
        except BaseException:
            ended.append("body")
            raise
        nap.cancel()
        return text

    instance_id = await sleeper.start()
    await reached(app, instance_id, "waiting_for_timer")
    fail_once(monkeypatch, app.storage, "load_waits")
    if moved_by == "itself":
        go_on.set()
    else:
        with pytest.raises(RuntimeError, match="a defect of load_waits"):
            await sleeper.resume(instance_id)

    await eventually(lambda: _assert(ended == ["body"]))
    await eventually(lambda: _set_aside(app, instance_id))
    assert len(engine_of(app).leases) == 0
    go_on.set()
    assert await result_of(app, instance_id) == "woken"


async def _set_aside(app: EddaApp, instance_id: str) -> None:
    record = await app.storage.load_instance(instance_id)
    assert record is not None
    assert record.last_error == "RuntimeError: a defect of load_waits"
    assert (await instance(app, instance_id))["locked_by"] is None


def _assert(condition: bool) -> None:
    assert condition
