"""Receiving beside other things: in a gather, a race, an activity, among many consumers."""

from __future__ import annotations

import asyncio
from itertools import chain
from typing import Any

import pytest

from edda import (
    RaceResult,
    RetryPolicy,
    TerminalError,
    WorkflowContext,
    activity,
    gather,
    publish,
    race,
    receive,
    sleep,
    subscribe,
    workflow,
)
from edda.app import EddaApp
from tests.support.apps import Apps, always_replay, engine_of, instance, reached, result_of, steps_of
from tests.support.eventually import PATIENCE, eventually

WAITING = "waiting_for_message"


@workflow
async def company_listener(ctx: WorkflowContext, count: int, mode: str = "broadcast") -> list[Any]:
    await subscribe(ctx, "news", mode)
    return [(await receive(ctx, "news")).data for _ in range(count)]


async def test_a_handler_of_exceptions_does_not_see_the_wait(app: EddaApp) -> None:
    entered = 0

    @workflow
    async def stubborn(ctx: WorkflowContext) -> int:
        nonlocal entered
        await subscribe(ctx, "news")
        for _ in range(2):
            entered += 1
            try:
                await receive(ctx, "news")
            except Exception:  # noqa: BLE001 - the point of the test
                entered += 100
        return entered

    instance_id = await stubborn.start()
    for _ in range(2):
        await publish(app.storage, "news", 1)
    await reached(app, instance_id)
    assert entered < 100


async def test_a_gather_of_waits_goes_on_with_whichever_comes(app: EddaApp) -> None:
    @workflow
    async def both(ctx: WorkflowContext) -> list[Any]:
        await subscribe(ctx, "a")
        await subscribe(ctx, "b")
        first, second, _ = await gather(receive(ctx, "a"), receive(ctx, "b"), sleep(ctx, 0.01))
        return [first.data, second.data]

    for order in (("a", "b"), ("b", "a")):
        instance_id = await both.start()
        for channel in order:
            await reached(app, instance_id, WAITING)
            await publish(app.storage, channel, f"on {channel}")
        await reached(app, instance_id)
        assert await result_of(app, instance_id) == ["on a", "on b"]


async def test_a_message_reaches_a_run_that_is_busy_with_an_activity(app: EddaApp) -> None:
    received, released = asyncio.Event(), asyncio.Event()

    @activity
    async def long(ctx: WorkflowContext) -> None:
        await released.wait()

    @workflow
    async def busy(ctx: WorkflowContext) -> Any:
        async def listen() -> Any:
            message = await receive(ctx, "news")
            received.set()
            return message.data

        await subscribe(ctx, "news")
        return await gather(listen(), long(ctx))

    started = asyncio.create_task(busy.start())
    await eventually(lambda: _is_waiting(app))
    await publish(app.storage, "news", 1)
    async with asyncio.timeout(PATIENCE):
        await received.wait()
    released.set()
    assert await result_of(app, await started) == [1, None]


async def _is_waiting(app: EddaApp) -> None:
    executions = list(engine_of(app)._running.values())
    assert executions
    assert executions[0].run.waits.for_messages


@pytest.mark.resident
async def test_news_leave_a_run_alone_that_is_parking(app: EddaApp) -> None:
    """It has given up its lease: going on now would be refused, and end what stays in memory."""
    entered = 0

    @workflow
    async def reader(ctx: WorkflowContext) -> Any:
        nonlocal entered
        entered += 1
        await subscribe(ctx, "news")
        return (await receive(ctx, "news")).data

    instance_id = await reader.start()
    engine_of(app)._residents._parked[instance_id].look_for_messages({"news"})
    await publish(app.storage, "news", 1)
    assert await result_of(app, instance_id) == 1
    assert entered == 1


async def test_a_race_of_a_message_and_a_timer_has_one_winner(app: EddaApp) -> None:
    @workflow
    async def hasty(ctx: WorkflowContext, seconds: float) -> Any:
        await subscribe(ctx, "news")
        first: RaceResult[Any] = await race(ctx, message=receive(ctx, "news"), timer=sleep(ctx, seconds))
        return first.name

    slow, quick = await hasty.start(seconds=3600), await hasty.start(seconds=0.01)
    await reached(app, quick)
    await publish(app.storage, "news", 1)
    await reached(app, slow)
    assert [await result_of(app, one) for one in (slow, quick)] == ["message", "timer"]


async def test_an_activity_waits_for_a_message_without_counting_an_attempt(app: EddaApp) -> None:
    @activity(retry_policy=RetryPolicy(max_attempts=1))
    async def listening(ctx: WorkflowContext) -> Any:
        return (await receive(ctx, "news")).data

    @workflow
    async def outer(ctx: WorkflowContext) -> Any:
        await subscribe(ctx, "news")
        return await listening(ctx)

    always_replay(app)
    instance_id = await outer.start()
    assert (await instance(app, instance_id))["status"] == WAITING
    await publish(app.storage, "news", 1)
    await reached(app, instance_id)
    assert await result_of(app, instance_id) == 1
    assert "ActivityFailed" not in [kind for _, kind in await steps_of(app, instance_id)]


async def test_an_activity_that_fails_after_receiving_gets_the_same_message_again(app: EddaApp) -> None:
    seen: list[Any] = []

    @activity(retry_policy=RetryPolicy(initial_interval=0.01))
    async def listening(ctx: WorkflowContext) -> None:
        seen.append((await receive(ctx, "news")).data)
        if len(seen) < 3:
            raise OSError

    @workflow
    async def outer(ctx: WorkflowContext) -> None:
        await subscribe(ctx, "news", "competing")
        await listening(ctx)

    for n in range(2):
        await publish(app.storage, "news", n)
    await outer.start()
    assert seen == [0, 0, 0]


async def test_a_message_is_not_received_beside_an_open_transaction(app: EddaApp) -> None:
    @activity
    async def listening(ctx: WorkflowContext) -> None:
        await (await ctx.session.connection()).exec_driver_sql("SELECT 1")
        await receive(ctx, "news")

    @workflow
    async def outer(ctx: WorkflowContext) -> None:
        await subscribe(ctx, "news", "competing")
        await listening(ctx)

    with pytest.raises(TerminalError, match=r"before the first use of ctx\.session"):
        await outer.start()


async def test_a_broadcast_reaches_all_who_wait(app: EddaApp) -> None:
    ids = [await company_listener.start(count=1) for _ in range(12)]
    await publish(app.storage, "news", "all")
    for instance_id in ids:
        await reached(app, instance_id)
        assert await result_of(app, instance_id) == ["all"]


async def test_many_consumers_in_two_apps_take_each_message_once(apps: Apps) -> None:
    one, two = await apps.start(), await apps.start()
    ids: list[str] = []
    for app in (one, two):
        with app.activate():
            ids += [await company_listener.start(count=10, mode="competing") for _ in range(2)]
    await asyncio.gather(*(publish(one.storage, "news", n) for n in range(40)))
    for instance_id in ids:
        await reached(one, instance_id)
    taken = [await result_of(one, instance_id) for instance_id in ids]
    assert sorted(chain.from_iterable(taken)) == list(range(40))
