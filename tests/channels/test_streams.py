"""A workflow that receives message after message: what each costs, and that it sleeps through none."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from edda import WorkflowContext, activity, gather, publish, receive, subscribe, unsubscribe, workflow
from edda.app import EddaApp
from tests.support.apps import Apps, always_replay, reached, result_of, stop_claiming
from tests.support.eventually import until
from tests.support.statements import Statements, counted

WAITING = "waiting_for_message"
received: list[Any] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    received.clear()


@workflow
async def stream_reader(ctx: WorkflowContext, count: int, mode: str = "broadcast") -> int:
    await subscribe(ctx, "stream", mode)
    for _ in range(count):
        message = await receive(ctx, "stream")
        received.append(message.data)
    return len(received)


async def _one_after_the_other(app: EddaApp, instance_id: str, numbers: range) -> Statements:
    """Publish each message when the one before was received and the reader has parked again."""
    with counted() as statements:
        for number in numbers:
            await publish(app.storage, "stream", number)
            await _last_received(number)
            await reached(app, instance_id, WAITING)
    return statements


@pytest.mark.resident
@pytest.mark.parametrize("mode", ["broadcast", "competing"])
async def test_each_message_costs_two_commits_and_the_hundredth_no_more_than_the_first(
    app: EddaApp, mode: str
) -> None:
    instance_id = await stream_reader.start(count=200, mode=mode)
    first = await _one_after_the_other(app, instance_id, range(6))
    for number in range(6, 100):
        await publish(app.storage, "stream", number)
    await _last_received(99)
    await reached(app, instance_id, WAITING)
    later = await _one_after_the_other(app, instance_id, range(100, 106))

    assert received == list(range(106))
    for statements in (first, later):
        # Published and taken, parked; not looked for in vain, except in the beginning.
        assert statements.commits <= 2 * 6 + 3
        assert not statements.containing("SELECT workflow_history.")
    assert len(_of_messages(later)) <= len(_of_messages(first)) + 6


async def _last_received(number: int) -> None:
    await until(lambda: received[-1:] == [number])


def _of_messages(statements: Statements) -> list[str]:
    """Without those of the loops, which go at their own pace, and of looking at the status."""
    return [text for text in statements.texts if "leader" not in text and not text.startswith("SELECT")]


async def test_a_long_history_is_replayed_with_one_query(app: EddaApp) -> None:
    instance_id = await stream_reader.start(count=301)
    await gather(*(publish(app.storage, "stream", number) for number in range(300)))
    await until(lambda: len(received) == 300)
    await reached(app, instance_id, WAITING)
    always_replay(app)
    received.clear()
    with counted() as statements:
        await publish(app.storage, "stream", 300)
        assert await result_of(app, instance_id) == 301
    assert len(statements.containing("SELECT workflow_history.")) == 1


@pytest.mark.parametrize("who", ["this process", "another one"])
async def test_what_comes_while_a_message_is_handled_is_received_at_once(apps: Apps, who: str) -> None:
    app = await apps.start()
    publisher = app if who == "this process" else await _publisher(apps)
    handling, go_on = asyncio.Event(), asyncio.Event()

    @activity
    async def handle(ctx: WorkflowContext, number: int) -> int:
        if number == 0:
            handling.set()
            await go_on.wait()
        return number

    @workflow
    async def handler(ctx: WorkflowContext) -> list[int]:
        await subscribe(ctx, "stream")
        return [await handle(ctx, (await receive(ctx, "stream")).data) for _ in range(5)]

    instance_id = await handler.start()
    for number in range(2):
        await publish(publisher.storage, "stream", number)
        if number == 0:
            await handling.wait()
    await publish(publisher.storage, "stream", 2)
    go_on.set()
    await reached(app, instance_id, WAITING)
    for number in (3, 4):
        await publish(publisher.storage, "stream", number)
    assert await result_of(app, instance_id) == [0, 1, 2, 3, 4]


async def _publisher(apps: Apps) -> EddaApp:
    """An app that runs nothing."""
    other = await apps.start("other")
    await stop_claiming(other)
    return other


async def test_who_is_no_longer_subscribed_does_not_sleep(app: EddaApp) -> None:
    @workflow
    async def leaver(ctx: WorkflowContext) -> str:
        await subscribe(ctx, "stream")
        await receive(ctx, "stream")
        await unsubscribe(ctx, "stream")
        try:
            await receive(ctx, "stream")
        except ValueError as error:
            return type(error).__name__
        return "slept"

    instance_id = await leaver.start()
    await publish(app.storage, "stream", 1)
    assert await result_of(app, instance_id) == "ValueError"
