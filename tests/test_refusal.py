"""Operations after the end of their run: each is refused, and no body can keep the process to itself."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections.abc import AsyncIterator

import pytest

from edda import EddaApp, WorkflowContext, activity, gather, race, sleep, workflow
from edda.exceptions import LockLostError, ShuttingDownError, WorkflowSignal
from edda.refusal import MOST_REFUSALS, _left_alone
from tests.support.apps import Apps, engine_of, result_of
from tests.support.eventually import PATIENCE, eventually
from tests.support.workers import Workers

stubborn = True
started: list[WorkflowContext] = []


@pytest.fixture(autouse=True)
async def _end_what_is_left_alone() -> AsyncIterator[None]:
    global stubborn  # noqa: PLW0603 - the body under test obeys nothing else
    stubborn = True
    gc.collect()  # else what other tests have left says something in the log of one of these
    started.clear()
    _left_alone.clear()  # those of other tests
    yield
    stubborn = False
    for task in list(_left_alone):
        task.cancel()
    await eventually(lambda: _assert(not _left_alone))


@activity
async def note(ctx: WorkflowContext, text: str) -> str:
    return text


@workflow
async def deaf(ctx: WorkflowContext) -> None:
    started.append(ctx)
    while stubborn:
        with contextlib.suppress(BaseException):
            await note(ctx, "again")


@workflow
async def deaf_sleeper(ctx: WorkflowContext) -> None:
    while stubborn:
        with contextlib.suppress(BaseException):
            await sleep(ctx, 3600)


@workflow
async def other(ctx: WorkflowContext) -> str:
    return await note(ctx, "other")


async def test_a_body_that_swallows_the_end_of_its_run_does_not_stop_the_others(
    app: EddaApp, caplog: pytest.LogCaptureFixture
) -> None:
    running = asyncio.create_task(deaf.start())
    await eventually(lambda: _assert(bool(started)))
    started[0].run.stop(LockLostError(started[0].instance_id))

    assert await result_of(app, await other.start()) == "other"
    with pytest.raises(LockLostError):
        await asyncio.wait_for(running, PATIENCE)
    assert engine_of(app).running == 0
    assert len(_left_alone) == 1
    (said,) = [record.message for record in caplog.records if "is left alone" in record.message]
    assert said.startswith(f"Code of {started[0].instance_id} swallows the signal that its run is over")
    assert f"'edda run {started[0].instance_id}'" in said


async def test_shutdown_does_not_wait_for_it_and_hands_its_instance_back(apps: Apps) -> None:
    app = await apps.start(leader_lease_duration=3 * 3600)
    running = asyncio.create_task(deaf.start())
    await eventually(lambda: _assert(bool(started)))

    await asyncio.wait_for(app.shutdown(), PATIENCE)

    with pytest.raises(ShuttingDownError):
        await running
    await apps.start()
    # A lease that was not handed back would keep it for much longer.
    await eventually(lambda: _assert(len(started) == 2))


@pytest.mark.resident
async def test_a_parked_body_that_swallows_its_end_does_not_hold_up_the_shutdown(app: EddaApp) -> None:
    instance_id = await deaf_sleeper.start()
    assert engine_of(app).resident == 1

    await asyncio.wait_for(app.shutdown(), PATIENCE)

    (task,) = _left_alone
    assert task.get_name() == f"edda run {instance_id}"


async def test_a_process_with_such_a_body_still_ends(workers: Workers) -> None:
    worker = await workers.start("tests.test_refusal:leave_a_deaf_body_behind")
    assert await worker.wait() == 0, worker.output
    assert "shut down" in worker.lines


async def leave_a_deaf_body_behind() -> None:
    app = EddaApp("tests", "sqlite:///:memory:")
    await app.initialize()
    running = asyncio.create_task(deaf.start())
    await eventually(lambda: _assert(bool(started)))
    await app.shutdown()
    await asyncio.wait({running})
    assert isinstance(running.exception(), ShuttingDownError)
    print("shut down")


async def test_a_body_may_clean_up_with_operations_that_are_refused(
    app: EddaApp, caplog: pytest.LogCaptureFixture
) -> None:
    refused: list[str] = []

    @workflow
    async def tidy(ctx: WorkflowContext) -> None:
        ctx.run.stop(LockLostError(ctx.instance_id))
        for number in range(MOST_REFUSALS):
            try:
                await note(ctx, str(number))
            except WorkflowSignal as signal:
                refused.append(str(signal))

    with pytest.raises(LockLostError):
        await tidy.start()
    await eventually(lambda: _assert(engine_of(app).running == 0))
    assert 0 < len(refused) <= MOST_REFUSALS
    assert not _left_alone
    assert "is left alone" not in caplog.text


@pytest.mark.parametrize("kind", ["step", "wait", "gather", "race"])
async def test_a_branch_that_outlives_its_body_is_not_reported_as_overlooked(
    app: EddaApp, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    branches: list[asyncio.Task[object]] = []

    @workflow
    async def hasty(ctx: WorkflowContext) -> str:
        async def step() -> None:
            await eventually(lambda: _assert(ctx.run.closed))
            await note(ctx, "late")

        match kind:
            case "step":
                branches.append(asyncio.create_task(step()))
            case "wait":
                branches.append(asyncio.create_task(sleep(ctx, 3600)))
            case "gather":
                branches.append(asyncio.create_task(gather(step(), limit=1)))
            case _:
                branches.append(asyncio.create_task(race(ctx, step())))
        return await note(ctx, "a")

    await hasty.start()
    await asyncio.wait(branches)
    assert branches[0].done()
    branches.clear()
    gc.collect()
    assert "never retrieved" not in caplog.text


async def test_another_error_of_such_a_branch_is_reported(
    app: EddaApp, caplog: pytest.LogCaptureFixture
) -> None:
    branches: list[asyncio.Task[object]] = []

    @workflow
    async def hasty(ctx: WorkflowContext) -> str:
        async def clumsy() -> None:
            await eventually(lambda: _assert(ctx.run.closed))
            try:
                await note(ctx, "late")
            finally:
                raise LookupError("in the clean-up")

        branches.append(asyncio.create_task(clumsy()))
        return await note(ctx, "a")

    await hasty.start()
    await asyncio.wait(branches)
    branches.clear()
    gc.collect()
    (record,) = [record for record in caplog.records if "never retrieved" in record.message]
    assert record.levelno == logging.ERROR
    assert "in the clean-up" in record.message


def _assert(condition: bool) -> None:
    assert condition
