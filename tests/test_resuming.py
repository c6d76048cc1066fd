"""Parked runs that go on with a message in the commit that brings it, and those that do not."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest.mock import patch

import pytest

from edda import EddaApp, WorkflowContext, publish, race, receive, send_to, sleep, subscribe, workflow
from edda.channels.receiving import receive as receive_once
from edda.exceptions import StorageError
from edda.storage.message_writes import RunResumed
from edda.storage.writes import InstancesClaimed
from tests.support.apps import Apps, engine_of, reached, result_of
from tests.support.eventually import eventually

pytestmark = pytest.mark.resident


@workflow
async def resumed_reader(ctx: WorkflowContext, count: int = 1, mode: str = "broadcast") -> list[Any]:
    await subscribe(ctx, "news", mode)
    return [(await receive(ctx, "news", timeout_seconds=3600)).data for _ in range(count)]


@workflow
async def resumed_racer(ctx: WorkflowContext) -> str | None:
    await subscribe(ctx, "news")
    return (await race(ctx, message=receive(ctx, "news"), timer=sleep(ctx, 3600))).name


@workflow
async def resumed_addressee(ctx: WorkflowContext) -> Any:
    await subscribe(ctx, "post", "direct")
    return (await receive_once(ctx, "post")).data


@workflow
async def resuming_sender(ctx: WorkflowContext, to: str) -> bool:
    return await send_to(ctx, to, "hello", channel="post")


class Watched:
    """The writes of these kinds that an app submits."""

    def __init__(self, app: EddaApp) -> None:
        self.writes: list[Any] = []
        self._submit = app.storage.submit
        app.storage.submit = self.submit  # type: ignore[method-assign]

    async def submit(self, write: Any, *, within: float | None = None) -> Any:
        answer = await self._submit(write, within=within)
        self.writes.append((write, answer))
        return answer

    def of(self, kind: type[Any]) -> list[Any]:
        return [answer for write, answer in self.writes if isinstance(write, kind)]


async def resident(app: EddaApp, count: int) -> None:
    async def check() -> None:
        assert engine_of(app).resident == count

    await eventually(check)


async def test_what_waits_for_more_than_a_message_is_claimed_as_ever(app: EddaApp) -> None:
    instance_id = await resumed_racer.start()
    await resident(app, 1)
    watched = Watched(app)
    await publish(app.storage, "news", 1)
    assert await result_of(app, instance_id) == "message"
    assert watched.of(RunResumed) == []
    assert any(watched.of(InstancesClaimed))


async def test_a_message_for_one_instance_resumes_that_one(app: EddaApp) -> None:
    other, instance_id = await resumed_reader.start(), await resumed_reader.start()
    await resident(app, 2)
    watched = Watched(app)
    await publish(app.storage, "news", "for you", target_instance_id=instance_id)
    assert await result_of(app, instance_id) == ["for you"]
    assert len(watched.of(RunResumed)) == 1
    await reached(app, other, "waiting_for_message")


async def test_a_message_that_a_workflow_sends_resumes_its_receiver(app: EddaApp) -> None:
    receiver = await resumed_addressee.start()
    await resident(app, 1)
    watched = Watched(app)
    sender = await resuming_sender.start(to=receiver)
    assert await result_of(app, sender) is True
    assert await result_of(app, receiver) == "hello"
    assert len(watched.of(RunResumed)) == 1


async def test_without_a_place_it_is_due_like_any_other(apps: Apps) -> None:
    app = apps.make()
    app.max_concurrent_workflows = 1
    await app.initialize()
    first, second = await resumed_reader.start(), await resumed_reader.start()
    await resident(app, 2)
    await publish(app.storage, "news", 1)
    assert [await result_of(app, one) for one in (first, second)] == [[1], [1]]


async def test_an_attempt_to_resume_that_fails_leaves_it_to_who_looks(app: EddaApp) -> None:
    instance_id = await resumed_reader.start()
    await resident(app, 1)
    submit = app.storage.submit

    async def failing(write: Any, *, within: float | None = None) -> Any:
        if isinstance(write, RunResumed):
            raise StorageError("not now")
        return await submit(write, within=within)

    with patch.object(app.storage, "submit", failing):
        await publish(app.storage, "news", 1)
        assert await result_of(app, instance_id) == [1]


async def test_a_body_that_moves_on_while_it_is_being_resumed_has_one_lease(app: EddaApp) -> None:
    """Its own timeout and the message come at the same moment: whatever it does then is recorded once."""
    hurry, parks = asyncio.Event(), 0

    @workflow
    async def resumed_hasty(ctx: WorkflowContext) -> str:
        await subscribe(ctx, "news")
        waiting = asyncio.ensure_future(receive(ctx, "news"))
        alarm = asyncio.ensure_future(hurry.wait())
        await asyncio.wait({waiting, alarm}, return_when=asyncio.FIRST_COMPLETED)
        alarm.cancel()
        await sleep(ctx, 0.001)
        return "went on"

    instance_id = await resumed_hasty.start()
    await resident(app, 1)
    submit = app.storage.submit

    async def late(write: Any, *, within: float | None = None) -> Any:
        nonlocal parks
        if isinstance(write, RunResumed):
            parks += 1
            hurry.set()
            await asyncio.sleep(0)
        return await submit(write, within=within)

    with patch.object(app.storage, "submit", late):
        await publish(app.storage, "news", 1)
        assert await result_of(app, instance_id) == "went on"
    assert parks == 1


async def test_messages_of_a_transaction_resume_who_is_named_when_it_commits(app: EddaApp) -> None:
    @workflow
    async def resuming_block(ctx: WorkflowContext) -> None:
        async with ctx.transaction():
            await publish(ctx, "news", 1)

    instance_id = await resumed_reader.start()
    await resident(app, 1)
    watched = Watched(app)
    await resuming_block.start()
    assert await result_of(app, instance_id) == [1]
    assert len(watched.of(RunResumed)) >= 1
