"""One resident run: when it parks, how it goes on, and what its body may do meanwhile."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from edda import WorkflowContext, activity, sleep, workflow
from edda.app import EddaApp
from edda.exceptions import EddaError, NonDeterminismError
from tests.support.apps import (
    Apps,
    always_replay,
    engine_of,
    go_on_claiming,
    instance,
    reached,
    result_of,
    steps_of,
    stop_claiming,
)
from tests.support.eventually import PATIENCE, until
from tests.support.noting import calls, note
from tests.support.statements import counted

DONE, EXPIRED = "ActivityCompleted", "TimerExpired"


async def test_start_returns_when_only_waits_are_left(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await note(ctx, "a")
        await sleep(ctx, 3600)

    row = await instance(app, await flow.start())

    assert (row["status"], row["current_activity_id"]) == ("waiting_for_timer", "sleep:1")
    assert (row["locked_by"], row["output_data"]) == (None, None)
    assert calls == ["a"]


@pytest.mark.resident
async def test_a_parked_run_goes_on_where_it_was_without_a_replay(app: EddaApp) -> None:
    entered: list[bool] = []

    @workflow
    async def flow(ctx: WorkflowContext) -> str:
        entered.append(ctx.is_replaying)
        await note(ctx, "a")
        await sleep(ctx, 0.05)
        await sleep(ctx, 0.05)
        return await note(ctx, "b")

    with counted() as statements:
        assert await result_of(app, await flow.start()) == "b"

    assert entered == [False]
    assert not statements.containing("SELECT", "FROM workflow_history", "ORDER BY")


@pytest.mark.resident
async def test_parking_runs_no_handler_and_no_finally_of_the_body(app: EddaApp) -> None:
    entered: list[str] = []

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        try:
            await sleep(ctx, 3600)
        except Exception:  # noqa: BLE001 - what users write
            entered.append("except")
        finally:
            entered.append("finally")

    row = await instance(app, await flow.start())
    assert row["status"] == "waiting_for_timer"
    assert entered == []


async def test_a_body_that_is_evicted_can_neither_swallow_it_nor_run_a_step(app: EddaApp) -> None:
    entered: list[str] = []

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        try:
            await sleep(ctx, 3600)
        except Exception:  # noqa: BLE001 - what users write
            entered.append("except")
        finally:
            entered.append("finally")
            await note(ctx, "in finally")
            entered.append("after the step")

    instance_id = await flow.start()
    always_replay(app)

    await until(lambda: entered == ["finally"])
    assert calls == []
    assert await steps_of(app, instance_id) == []
    assert (await instance(app, instance_id))["status"] == "waiting_for_timer"


async def test_a_sleep_beside_a_running_activity_fires_on_time_and_the_activity_runs_once(
    app: EddaApp,
) -> None:
    slept = asyncio.Event()

    @activity
    async def until_slept(ctx: WorkflowContext) -> None:
        calls.append("until slept")
        await asyncio.wait_for(slept.wait(), PATIENCE)

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        async def nap() -> None:
            await sleep(ctx, 0.05)
            slept.set()

        await asyncio.gather(until_slept(ctx), nap())

    instance_id = await flow.start()

    assert await steps_of(app, instance_id) == [("sleep:1", EXPIRED), ("until_slept:1", DONE)]
    assert calls == ["until slept"]


async def test_what_is_in_flight_is_recorded_before_the_run_parks(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await asyncio.gather(sleep(ctx, 3600), note(ctx, "a"), note(ctx, "b"))

    instance_id = await flow.start()

    assert (await instance(app, instance_id))["status"] == "waiting_for_timer"
    assert sorted(await steps_of(app, instance_id)) == [("note:1", DONE), ("note:2", DONE)]


async def test_the_first_of_several_waits_resumes_the_instance(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        async def after(seconds: float, text: str) -> None:
            await sleep(ctx, seconds)
            await note(ctx, text)

        async with asyncio.TaskGroup() as group:
            group.create_task(after(3600, "late"))
            group.create_task(after(0.05, "early"))

    instance_id = await flow.start()
    await until(lambda: calls == ["early"])
    await reached(app, instance_id, "waiting_for_timer")

    assert [step for step, _ in await steps_of(app, instance_id)] == ["sleep:2", "note:1"]


async def test_an_activity_that_the_body_did_not_wait_for_is_recorded_before_the_end(app: EddaApp) -> None:
    go_on = asyncio.Event()
    branches: list[asyncio.Task[None]] = []

    @activity
    async def slow(ctx: WorkflowContext) -> None:
        calls.append("begun")
        await go_on.wait()

    @workflow
    async def flow(ctx: WorkflowContext) -> str:
        async def branch() -> None:
            await slow(ctx)
            await note(ctx, "after the end")

        branches.append(asyncio.create_task(branch()))
        await note(ctx, "a")
        asyncio.get_running_loop().call_later(0.1, go_on.set)
        return "ended"

    instance_id = await flow.start()

    assert await result_of(app, instance_id) == "ended"
    assert [step for step, _ in await steps_of(app, instance_id)] == ["note:1", "slow:1"]
    await asyncio.wait(branches)
    assert calls == ["a", "begun"], "a branch that outlives the body begins no further step"


@pytest.mark.resident
async def test_a_parked_body_that_moves_on_by_itself_takes_the_lease_again(app: EddaApp) -> None:
    outside = asyncio.Event()
    entered = itertools.count()

    @workflow
    async def flow(ctx: WorkflowContext) -> str:
        next(entered)

        async def other() -> str:
            await outside.wait()
            return await note(ctx, "moved on")

        nap = asyncio.create_task(sleep(ctx, 0.3))
        text = await other()
        await nap
        return text

    await stop_claiming(app)  # so that nothing but itself moves it on
    instance_id = await flow.start()
    assert (await instance(app, instance_id))["status"] == "waiting_for_timer"
    outside.set()
    await until(lambda: calls == ["moved on"])
    go_on_claiming(app)

    assert await result_of(app, instance_id) == "moved on"
    assert next(entered) == 1
    # On a slow machine its timer is due by the time it moves on.
    assert sorted(await steps_of(app, instance_id)) == [("note:1", DONE), ("sleep:1", EXPIRED)]


@pytest.mark.resident
async def test_a_parked_body_that_another_worker_has_overtaken_runs_no_step(apps: Apps) -> None:
    outside = asyncio.Event()
    contexts: list[WorkflowContext] = []

    @workflow
    async def flow(ctx: WorkflowContext) -> str:
        contexts.append(ctx)
        first = len(contexts) == 1
        nap = asyncio.create_task(sleep(ctx, 3600))
        if first:
            await outside.wait()
            return await note(ctx, "overtaken")
        await nap
        return "never"

    first = await apps.start()
    second = await apps.start()
    instance_id = await flow.start()
    assert engine_of(first).resident == 1
    with second.activate():
        await flow.resume(instance_id)
    outside.set()

    await until(lambda: engine_of(first).resident == 0)
    assert calls == []
    assert await steps_of(first, instance_id) == []
    assert (await instance(first, instance_id))["status"] == "waiting_for_timer"


async def test_a_cancelled_error_of_the_body_itself_is_a_failure(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        raise asyncio.CancelledError

    with pytest.raises(
        EddaError, match=r"'flow' let an asyncio.CancelledError of its own body through"
    ) as caught:
        await flow.start()
    await reached(app, caught.value.instance_id, "failed")  # type: ignore[attr-defined]


async def test_steps_left_over_when_the_body_returns_set_the_instance_aside(app: EddaApp) -> None:
    shortened = False

    @workflow
    async def flow(ctx: WorkflowContext) -> str:
        if shortened:
            return "short"
        await note(ctx, "a")
        await sleep(ctx, 3600)
        return "long"

    always_replay(app)
    instance_id = await flow.start()
    shortened = True

    with pytest.raises(NonDeterminismError) as caught:
        await flow.resume(instance_id)

    text = str(caught.value)
    assert "returned" in text
    assert "1 further recorded step(s), first 'note:1' (ActivityCompleted)" in text
    assert f"{__file__}:" in text
    row = await app.storage.load_instance(instance_id)
    assert row is not None
    assert (row.output_data, row.locked_by, row.attempts) == (None, None, 1)
    assert str(row.last_error).startswith("NonDeterminismError: Workflow 'flow' at ")


class Odd(BaseException):
    """What user code should not raise, and some does."""


@pytest.mark.parametrize("error", [Odd("x"), GeneratorExit(), BaseExceptionGroup("many", [Odd("x")])])
async def test_a_body_that_raises_what_is_no_exception_has_failed(app: EddaApp, error: BaseException) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await note(ctx, "a")
        raise error

    with pytest.raises(EddaError, match="which is no Exception") as raised:
        await flow.start()
    row = await instance(app, raised.value.instance_id)  # type: ignore[attr-defined]
    assert row["status"] == "failed"
    assert repr(error) in str(raised.value)
