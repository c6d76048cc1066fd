"""The point of no return, and what decides to undo nothing while a cancellation comes."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from edda import WorkflowContext, activity, on_failure, register_compensation, sleep, workflow
from edda.app import EddaApp
from edda.compensation import clear_compensations, execute_compensations, pivot
from edda.exceptions import WorkflowCancelledException
from tests.support.apps import instance, reached, steps_of
from tests.support.asgi import request
from tests.support.rows import create_tables, put
from tests.support.sagas import failed_id
from tests.support.statements import counted
from tests.support.trips import cancel, do, entered, forget, held, held_at, note, told, undo


@pytest.fixture(autouse=True)
def _forget() -> None:
    forget()


@activity
@on_failure(undo)
async def charge(ctx: WorkflowContext, name: str, uses_session: bool = False) -> None:
    if uses_session:
        await put(ctx, name)
    await note(name)
    await pivot(ctx)


@workflow
async def paid_trip(
    ctx: WorkflowContext, inside: bool = True, waits: bool = False, uses: bool = False
) -> None:
    await do(ctx, "flight")
    if inside:
        await charge(ctx, "card", uses)
    else:
        await pivot(ctx)
    await do(ctx, "ticket")
    await register_compensation(ctx, undo, "never")
    if waits:
        await sleep(ctx, 3600)
    raise ValueError("the mail does not go out")


@pytest.mark.parametrize(("inside", "uses"), [(False, False), (True, False), (True, True)])
async def test_after_it_a_failure_undoes_nothing(app: EddaApp, inside: bool, uses: bool) -> None:
    await create_tables(app)
    instance_id = await failed_id(paid_trip, inside=inside, uses=uses)
    assert entered == ["flight", *(["card"] if inside else []), "ticket"]
    assert (await instance(app, instance_id))["status"] == "failed"
    step = "charge:1/pivot:1" if inside else "pivot:1"
    assert (step, "PivotPassed") in await steps_of(app, instance_id)
    assert not [kind for _, kind in await steps_of(app, instance_id) if kind.startswith("CompensationE")]


@pytest.mark.parametrize("inside", [True, False])
async def test_after_it_nobody_can_cancel(any_app: EddaApp, inside: bool) -> None:
    instance_id = await paid_trip.start(inside=inside, waits=True)
    assert not await cancel(any_app, instance_id)
    assert (await request(any_app, "POST", f"/cancel/{instance_id}")).status == 400
    row = await instance(any_app, instance_id)
    assert row["status"] == "waiting_for_timer"
    assert "WorkflowCancelled" not in [kind for _, kind in await steps_of(any_app, instance_id)]


async def test_one_that_was_rolled_back_is_none(any_app: EddaApp) -> None:
    @activity
    async def turned_back(ctx: WorkflowContext) -> None:
        with contextlib.suppress(KeyError):
            async with ctx.transaction():
                await pivot(ctx)
                raise KeyError("in the activity")

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await do(ctx, "flight")
        await turned_back(ctx)
        with contextlib.suppress(KeyError):
            async with ctx.transaction():
                await pivot(ctx)
                raise KeyError("in the body")
        await sleep(ctx, 3600)

    assert await cancel(any_app, await flow.start())
    assert entered == ["flight", "undo flight"]


async def test_a_compensation_and_a_body_that_undoes_by_itself_have_no_use_for_it(app: EddaApp) -> None:
    async def turn_forward(ctx: WorkflowContext) -> None:
        await pivot(ctx)
        entered.append("undone all the same")

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await do(ctx, "flight")
        await register_compensation(ctx, turn_forward)
        await execute_compensations(ctx)
        await pivot(ctx)
        await do(ctx, "hotel")
        await execute_compensations(ctx)
        raise ValueError("no")

    await failed_id(flow)
    assert entered == ["flight", "undone all the same", "undo flight", "hotel"]


async def test_on_replay_it_is_passed_once(any_app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await do(ctx, "flight")
        await pivot(ctx)
        await sleep(ctx, 0.01)
        await charge(ctx, "card")
        await sleep(ctx, 0.01)

    instance_id = await flow.start()
    await reached(any_app, instance_id)
    passed = [step for step, kind in await steps_of(any_app, instance_id) if kind == "PivotPassed"]
    assert passed == ["pivot:1", "charge:1/pivot:1"]


async def test_in_an_activity_it_costs_no_commit(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext, name: str) -> None:
        await (charge if name == "pivot" else do)(ctx, name)

    for name in ("warm up", "plain", "pivot"):
        with counted() as seen:
            await flow.start(name=name)
        assert name == "warm up" or seen.commits == 3


# -- a request that comes first ------------------------------------------------------------------


@activity
@on_failure(undo)
async def confirm(ctx: WorkflowContext, name: str) -> None:
    await note(name)
    await clear_compensations(ctx)


@pytest.mark.parametrize("decides", [charge, confirm])
async def test_a_decision_inside_a_step_that_was_under_way_comes_too_late(app: EddaApp, decides: Any) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await do(ctx, "flight")
        await decides(ctx, "card")

    instance_id, start = await held_at(app, "card", flow.start)
    cancelling = asyncio.create_task(cancel(app, instance_id))
    await told(app, instance_id)
    held["card"].set()
    assert await cancelling
    assert await start == instance_id
    assert (await instance(app, instance_id))["status"] == "cancelled"
    assert entered == ["flight", "card", "undo card", "undo flight"]


@pytest.mark.parametrize("decides", [pivot, clear_compensations])
async def test_so_does_one_of_the_body_that_does_not_know_yet(
    app: EddaApp, monkeypatch: pytest.MonkeyPatch, decides: Any
) -> None:
    seen: list[str] = []

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await do(ctx, "flight")
        try:
            await decides(ctx)
        except WorkflowCancelledException as error:
            seen.append(str(error))
            raise

    submit = app.storage.submit
    requests: list[asyncio.Task[bool]] = []

    async def submit_after_the_request(write: Any, *, within: float | None = None) -> Any:
        if getattr(write, "activity_id", "") in ("pivot:1", "clear_compensations:1") and not requests:
            requests.append(asyncio.create_task(cancel(app, write.lease.instance_id)))
            while ("workflow_cancelled", "WorkflowCancelled") not in await steps_of(
                app, write.lease.instance_id
            ):
                await asyncio.sleep(0)
        return await submit(write, within=within)

    monkeypatch.setattr(app.storage, "submit", submit_after_the_request)
    instance_id = await flow.start()
    assert await requests[0]
    assert (await instance(app, instance_id))["status"] == "cancelled"
    assert len(seen) == 1
    assert entered == ["flight", "undo flight"]
