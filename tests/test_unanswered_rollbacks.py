"""Rollbacks and cancellations whose commits succeed and go unanswered, each write in turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from edda import WorkflowContext, sleep, workflow
from edda.app import EddaApp
from edda.storage.dialects.base import Failure
from edda.storage.writes import CancelRequested, RollbackBegun, RunFinished, StepRecorded
from tests.support.apps import engine_of, instance
from tests.support.sagas import outcomes
from tests.support.trips import do, entered, forget, held, told

PLACES = ("flight", "hotel")
# Of each saga, beside the record of its last step: the rollback, two compensations and the end, before
# these the request to cancel.
WRITES = {"fails": 5, "waits": 6, "runs": 6}


@workflow
async def unanswered_failure(ctx: WorkflowContext) -> None:
    for place in PLACES:
        await do(ctx, place)
    raise ValueError("no card")


@workflow
async def unanswered_wait(ctx: WorkflowContext) -> None:
    for place in PLACES:
        await do(ctx, place)
    await sleep(ctx, 3600)


@workflow
async def unanswered_run(ctx: WorkflowContext) -> None:
    for place in PLACES:
        await do(ctx, place)


def lose_answer(app: EddaApp, monkeypatch: pytest.MonkeyPatch, number: int) -> Callable[[], bool]:
    """Cut the connection after the commit of this write of those that end an instance; says if it came."""
    writer: Any = app.storage._writer  # type: ignore[attr-defined]
    transact, classify = writer._transact, writer._classify
    seen = 0

    async def transact_and_lose(batch: Any, attempt: Any) -> Any:
        nonlocal seen
        answers = await transact(batch, attempt)
        before, seen = seen, seen + sum(_counts(entry.write) for entry in batch)
        if before < number <= seen:
            raise ConnectionAbortedError("the answer is lost")
        return answers

    def unreachable(error: BaseException) -> Failure:
        return Failure.UNREACHABLE if isinstance(error, ConnectionAbortedError) else classify(error)

    monkeypatch.setattr(writer, "_transact", transact_and_lose)
    monkeypatch.setattr(writer, "_classify", unreachable)
    return lambda: seen >= number


def _counts(write: Any) -> bool:
    if isinstance(write, StepRecorded):
        return write.activity_id.startswith("compensation_") or write.activity_id == "do:2"
    return isinstance(write, CancelRequested | RollbackBegun | RunFinished)


@pytest.mark.parametrize("name", list(WRITES))
async def test_every_compensation_is_executed_once_and_the_end_is_right(
    app: EddaApp, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for number in range(1, WRITES[name] + 1):
        forget()
        with monkeypatch.context() as patch:
            came = lose_answer(app, patch, number)
            await _live(app, name, f"{name}-{number}")
        assert came(), number
        row = await instance(app, f"{name}-{number}")
        assert (row["status"], row["locked_by"]) == ("failed" if name == "fails" else "cancelled", None)
        assert entered == ["flight", "hotel", "undo hotel", "undo flight"], number
        kinds = [kind for _, kind, _ in await outcomes(app, f"{name}-{number}")]
        assert kinds == ["CompensationExecuted"] * 2, number


async def _live(app: EddaApp, name: str, instance_id: str) -> None:
    engine = engine_of(app)
    flow = {"fails": unanswered_failure, "waits": unanswered_wait, "runs": unanswered_run}[name]
    if name == "runs":
        held["hotel"] = asyncio.Event()
    start = asyncio.ensure_future(engine.start(flow, {}, None, instance_id=instance_id))
    if name == "runs":
        while "hotel" not in entered:
            await asyncio.sleep(0)
        cancelling = asyncio.ensure_future(engine.cancel_workflow(instance_id))
        await told(app, instance_id)
        held["hotel"].set()
        assert await cancelling
    await asyncio.gather(start, return_exceptions=True)
    if name == "waits":
        assert await engine.cancel_workflow(instance_id)
