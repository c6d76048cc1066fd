"""A step that is not recorded, while the code can no longer reach steps that are."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from edda import WorkflowContext, activity, publish, receive, send_event, sleep, subscribe, workflow
from edda.app import EddaApp
from edda.exceptions import NonDeterminismError
from tests.support.apps import Apps, always_replay, result_of, steps_of
from tests.support.eventually import eventually
from tests.support.noting import calls, note

Body = Callable[[WorkflowContext], Awaitable[Any]]


@activity
async def reserve(ctx: WorkflowContext) -> None:
    calls.append("reserve")


@activity
async def book(ctx: WorkflowContext) -> None:
    calls.append("book")


async def old(ctx: WorkflowContext) -> str:
    await reserve(ctx)
    await sleep(ctx, 3600, timer_id="pause")
    await note(ctx, "end")
    return "done"


async def renamed(ctx: WorkflowContext) -> None:
    await book(ctx)
    await sleep(ctx, 3600, timer_id="pause")


async def inserted(ctx: WorkflowContext) -> None:
    await book(ctx)
    await old(ctx)


async def inserted_in_transaction(ctx: WorkflowContext) -> None:
    async with ctx.transaction():
        await book(ctx)
    await old(ctx)


async def inserted_timer(ctx: WorkflowContext) -> None:
    await sleep(ctx, 0)
    await old(ctx)


async def inserted_wait(ctx: WorkflowContext) -> None:
    await receive(ctx, "other")
    await old(ctx)


async def inserted_message(ctx: WorkflowContext) -> None:
    await publish(ctx, "other", {})
    await old(ctx)


async def inserted_event(ctx: WorkflowContext) -> None:
    await send_event("order.created", "/shop", {}, "http://127.0.0.1:1/")
    await old(ctx)


async def inserted_after_branches(ctx: WorkflowContext) -> None:
    await asyncio.gather(asyncio.sleep(0), asyncio.sleep(0))
    await book(ctx)
    await old(ctx)


CHANGED = [
    renamed,
    inserted,
    inserted_in_transaction,
    inserted_timer,
    inserted_wait,
    inserted_message,
    inserted_event,
    inserted_after_branches,
]


def changing(body: Body) -> tuple[Any, Callable[[Body], None]]:
    """A workflow whose code can be exchanged as by a deployment."""
    code = body

    @workflow
    async def flow(ctx: WorkflowContext) -> Any:
        return await code(ctx)

    def deploy(new: Body) -> None:
        nonlocal code
        code = new

    return flow, deploy


async def is_set_aside(app: EddaApp, instance_id: str) -> None:
    row = await app.storage.load_instance(instance_id)
    assert row is not None
    assert str(row.last_error).startswith("NonDeterminismError: Workflow 'flow' does not match")
    assert row.locked_by is None


@pytest.mark.parametrize("changed", CHANGED)
async def test_a_new_step_before_recorded_ones_is_neither_executed_nor_recorded(
    app: EddaApp, changed: Body
) -> None:
    flow, deploy = changing(old)
    always_replay(app)
    instance_id = await flow.start()
    deploy(changed)

    with pytest.raises(NonDeterminismError) as caught:
        await flow.resume(instance_id)

    assert "step 'reserve:1' is recorded as ActivityCompleted" in str(caught.value)
    assert f"{__file__}:" in str(caught.value)
    assert calls == ["reserve"]
    assert await steps_of(app, instance_id) == [("reserve:1", "ActivityCompleted")]
    deploy(old)
    await flow.resume(instance_id)
    assert calls == ["reserve"]


async def test_the_error_names_the_attempted_step_and_its_line(app: EddaApp) -> None:
    flow, deploy = changing(old)
    always_replay(app)
    instance_id = await flow.start()
    deploy(renamed)

    line = renamed.__code__.co_firstlineno + 1
    with pytest.raises(
        NonDeterminismError,
        match=rf"attempts activity 'book' as new step 'book:1' at .*{__name__.split('.')[-1]}.py:{line}\.",
    ):
        await flow.resume(instance_id)


async def test_swapped_activities_are_noticed(app: EddaApp) -> None:
    async def both(ctx: WorkflowContext) -> None:
        await reserve(ctx)
        await sleep(ctx, 3600)
        await book(ctx)

    async def swapped(ctx: WorkflowContext) -> None:
        await book(ctx)
        await sleep(ctx, 3600)
        await reserve(ctx)

    flow, deploy = changing(both)
    always_replay(app)
    instance_id = await flow.start()
    deploy(swapped)

    with pytest.raises(NonDeterminismError, match="'book:1'"):
        await flow.resume(instance_id)
    assert calls == ["reserve"]


async def test_a_removed_step_is_noticed_before_the_next_new_one(app: EddaApp) -> None:
    async def three(ctx: WorkflowContext) -> None:
        await reserve(ctx)
        await note(ctx, "kept")
        await sleep(ctx, 3600)

    async def shorter(ctx: WorkflowContext) -> None:
        await note(ctx, "kept")
        await book(ctx)

    flow, deploy = changing(three)
    always_replay(app)
    instance_id = await flow.start()
    deploy(shorter)

    with pytest.raises(NonDeterminismError, match="'reserve:1'"):
        await flow.resume(instance_id)
    assert calls == ["reserve", "kept"]


async def test_a_child_that_is_new_is_not_started(app: EddaApp) -> None:
    @workflow
    async def child(ctx: WorkflowContext) -> None:
        calls.append("child")

    async def with_child(ctx: WorkflowContext) -> None:
        await child.start()
        await old(ctx)

    flow, deploy = changing(old)
    always_replay(app)
    instance_id = await flow.start()
    deploy(with_child)

    with pytest.raises(NonDeterminismError, match="the start of workflow 'child'"):
        await flow.resume(instance_id)
    assert calls == ["reserve"]


async def test_a_timer_resumes_it_and_the_old_code_completes_it(app: EddaApp) -> None:
    async def before(ctx: WorkflowContext) -> str:
        await reserve(ctx)
        await sleep(ctx, 0.3)
        return "done"

    async def after(ctx: WorkflowContext) -> str:
        await book(ctx)
        await sleep(ctx, 0.3)
        return "other"

    flow, deploy = changing(before)
    always_replay(app)
    instance_id = await flow.start()
    deploy(after)

    await eventually(lambda: is_set_aside(app, instance_id))
    assert calls == ["reserve"]
    deploy(before)
    assert await result_of(app, instance_id) == "done"
    assert calls == ["reserve"]
    assert [step for step, _ in await steps_of(app, instance_id)] == ["reserve:1", "sleep:1"]


async def test_a_message_resumes_it_and_is_kept_for_the_old_code(apps: Apps) -> None:
    async def before(ctx: WorkflowContext) -> str:
        await subscribe(ctx, "news")
        await reserve(ctx)
        message = await receive(ctx, "news")
        return str(message.data["text"])

    async def after(ctx: WorkflowContext) -> None:
        await subscribe(ctx, "news")
        await book(ctx)
        await receive(ctx, "news")

    flow, deploy = changing(before)
    first = await apps.start()
    instance_id = await flow.start()
    await first.shutdown()
    deploy(after)
    second = await apps.start()
    await publish(second.storage, "news", {"text": "hello"})

    await eventually(lambda: is_set_aside(second, instance_id))
    assert calls == ["reserve"]
    deploy(before)
    assert await result_of(second, instance_id) == "hello"
    assert calls == ["reserve"]


async def test_a_renamed_channel_takes_no_message(app: EddaApp) -> None:
    async def before(ctx: WorkflowContext) -> str:
        await subscribe(ctx, "news")
        await subscribe(ctx, "olds")
        message = await receive(ctx, "news")
        await sleep(ctx, 3600)
        return str(message.data["text"])

    async def after(ctx: WorkflowContext) -> None:
        await subscribe(ctx, "news")
        await subscribe(ctx, "olds")
        await receive(ctx, "olds", message_id="other")
        await book(ctx)

    flow, deploy = changing(before)
    always_replay(app)
    instance_id = await flow.start()
    await publish(app.storage, "news", {"text": "hello"})

    async def received() -> None:
        assert len(await steps_of(app, instance_id)) == 3

    await eventually(received)
    recorded = await steps_of(app, instance_id)
    deploy(after)
    await publish(app.storage, "olds", {"text": "wrong"})

    async def resumed() -> None:
        with pytest.raises(NonDeterminismError, match="is recorded as ChannelMessageReceived"):
            await flow.resume(instance_id)

    await eventually(resumed)
    assert await steps_of(app, instance_id) == recorded
    assert calls == []


@pytest.mark.parametrize("arguments", [("a", "b"), (object(),)])
async def test_a_call_that_is_wrong_in_each_replay_is_no_contradiction(
    app: EddaApp, arguments: tuple[Any, ...]
) -> None:
    async def body(ctx: WorkflowContext) -> None:
        call: Any = note
        try:
            await call(ctx, *arguments)
        except (TypeError, ValueError):
            calls.append("wrong")
        await note(ctx, "right")
        await sleep(ctx, 3600)

    flow, _ = changing(body)
    always_replay(app)
    instance_id = await flow.start()
    await flow.resume(instance_id)

    assert calls == ["wrong", "right", "wrong"]
    assert [step for step, _ in await steps_of(app, instance_id)] == ["note:2"]


async def test_a_step_that_the_body_timed_out_in_each_replay_is_no_contradiction(app: EddaApp) -> None:
    @activity
    async def slow(ctx: WorkflowContext) -> None:
        calls.append("slow")
        await asyncio.Event().wait()

    async def body(ctx: WorkflowContext) -> None:
        try:
            async with asyncio.timeout(1):
                await slow(ctx)
        except TimeoutError:
            calls.append("late")
        await note(ctx, "next")
        await sleep(ctx, 3600)

    flow, _ = changing(body)
    always_replay(app)
    instance_id = await flow.start()
    await flow.resume(instance_id)

    assert calls == ["slow", "late", "next", "late"]


async def test_a_timeout_around_a_renamed_step_does_not_put_the_error_off(app: EddaApp) -> None:
    async def before(ctx: WorkflowContext) -> None:
        async with asyncio.timeout(3600):
            await reserve(ctx)
        await sleep(ctx, 3600)

    async def after(ctx: WorkflowContext) -> None:
        async with asyncio.timeout(3600):
            await book(ctx)
        await sleep(ctx, 3600)

    flow, deploy = changing(before)
    always_replay(app)
    instance_id = await flow.start()
    deploy(after)

    with pytest.raises(NonDeterminismError, match="'reserve:1' is recorded"):
        await flow.resume(instance_id)
    assert calls == ["reserve"]
