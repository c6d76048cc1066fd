"""Cancelling instances that wait for messages, or take one at the same moment."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from edda import WorkflowContext, publish, receive, register_compensation, sleep, subscribe, workflow
from edda.app import EddaApp
from edda.channels import wait_event
from edda.exceptions import StorageError, WorkflowCancelledException
from edda.storage.message_writes import MessageTaken, RunResumed
from tests.support.apps import Apps, engine_of, instance, reached, steps_of
from tests.support.trips import cancel, do, entered, told


@workflow
async def listening(ctx: WorkflowContext, mode: str = "broadcast") -> Any:
    await do(ctx, "flight")
    await subscribe(ctx, "news", mode=mode)
    return (await receive(ctx, "news")).data


@workflow
async def expecting(ctx: WorkflowContext) -> None:
    await do(ctx, "flight")
    await wait_event(ctx, "paid", timeout_seconds=100)


@pytest.mark.parametrize("waiting", [listening, expecting], ids=["message", "event"])
async def test_what_arrives_later_does_not_revive_it(app: EddaApp, waiting: Any) -> None:
    instance_id = await waiting.start()
    assert (await instance(app, instance_id))["status"] == "waiting_for_message"
    assert await cancel(app, instance_id)
    for channel in ("news", "paid"):
        await publish(app.storage, channel, "late")
    row = await instance(app, instance_id)
    output: Any = row["output_data"]
    assert (row["status"], output["previous_status"]) == ("cancelled", "waiting_for_message")
    assert entered == ["flight", "undo flight"]
    assert await app.storage.load_waits(instance_id) == []
    assert await app.storage.load_subscriptions(instance_id) == []
    assert await app.storage.seconds_until_due([waiting.name]) is None


async def test_the_message_of_a_cancelled_competitor_is_left_for_another(apps: Apps) -> None:
    app = await apps.start()
    first = await listening.start(mode="competing")
    assert await cancel(app, first)
    await publish(app.storage, "news", "for somebody")
    assert (await reached(app, await listening.start(mode="competing")))["output_data"] == {
        "result": "for somebody"
    }


async def test_a_message_is_left_for_another_before_the_rollback_is_over(apps: Apps) -> None:
    """The one that was woken for it does not take it, and has long to wait until it is undone."""
    app = await apps.start()
    gone = asyncio.Event()

    async def wait_long(ctx: WorkflowContext) -> None:
        await sleep(ctx, 3600)

    @workflow
    async def distracted(ctx: WorkflowContext) -> None:
        await register_compensation(ctx, wait_long)
        await subscribe(ctx, "news", mode="competing")
        try:
            await receive(ctx, "news")
        finally:
            gone.set()

    submit = app.storage.submit

    async def refuse_to_take(write: Any, *, within: float | None = None) -> Any:
        if isinstance(write, RunResumed) and write.lease.instance_id == first:
            raise StorageError("woken and leased before it takes its message")
        if isinstance(write, MessageTaken) and write.lease.instance_id == first and write.lease.token > 1:
            raise KeyError("trouble of its own")
        return await submit(write, within=within)

    first = ""
    first = await distracted.start()
    second = await listening.start(mode="competing")
    app.storage.submit = refuse_to_take  # type: ignore[method-assign]
    await publish(app.storage, "news", "for somebody")
    assert (await reached(app, second))["output_data"] == {"result": "for somebody"}
    row = await reached(app, first, "compensating")
    assert row["current_activity_id"] in ("workflow_failed", "compensation_1/sleep:1")
    assert gone.is_set()


async def test_a_run_that_takes_a_message_after_the_request_does_not_get_it(
    apps: Apps, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, other = await apps.start(), await apps.start()
    seen: list[str] = []
    asked = asyncio.Event()

    @workflow
    async def taking(ctx: WorkflowContext) -> None:
        await do(ctx, "flight")
        await subscribe(ctx, "news", mode="competing")
        await publish(ctx, "news", "kept")
        try:
            await receive(ctx, "news")
        except WorkflowCancelledException as error:
            seen.append(str(error))
            raise

    submit = app.storage.submit

    async def submit_after_the_request(write: Any, *, within: float | None = None) -> Any:
        if isinstance(write, MessageTaken) and not asked.is_set():
            asked.set()
            requests.append(asyncio.create_task(cancel(other, write.lease.instance_id)))
            while ("workflow_cancelled", "WorkflowCancelled") not in await steps_of(
                other, write.lease.instance_id
            ):
                await asyncio.sleep(0)
        return await submit(write, within=within)

    requests: list[asyncio.Task[bool]] = []
    monkeypatch.setattr(app.storage, "submit", submit_after_the_request)
    with app.activate():
        instance_id = await taking.start()
    assert await requests[0]
    assert seen == [f"Workflow {instance_id} has been cancelled"]
    assert entered == ["flight", "undo flight"]
    assert (await instance(app, instance_id))["status"] == "cancelled"
    kept = await listening.start(mode="competing")
    assert (await reached(app, kept))["output_data"] == {"result": "kept"}


@pytest.mark.parametrize("empty_database_url", ["postgresql"], indirect=True)
async def test_another_process_is_told_at_once_where_the_database_notifies(apps: Apps) -> None:
    runs, other = await apps.start(), await apps.start()
    held = asyncio.Event()

    @workflow
    async def long(ctx: WorkflowContext) -> None:
        entered.append("long")
        await held.wait()
        await do(ctx, "never")

    with runs.activate():
        start = asyncio.ensure_future(long.start())
    while not entered:
        await asyncio.sleep(0)
    (instance_id,) = engine_of(runs)._running
    cancelling = asyncio.create_task(cancel(other, instance_id))
    await told(runs, instance_id)  # the next renewal by itself would be ten seconds away
    held.set()
    assert await cancelling
    assert await start == instance_id
    assert entered == ["long"]
