"""Publishing: once, with the transaction, to everybody or to one."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from typing import Any

import pytest
from pydantic import BaseModel

from edda import (
    RetryPolicy,
    WorkflowContext,
    activity,
    publish,
    receive,
    send_to,
    sleep,
    subscribe,
    workflow,
)
from edda.app import EddaApp
from edda.exceptions import PayloadTooLargeError
from tests.support.apps import always_replay, instance, reached, result_of, steps_of

WAITING = "waiting_for_message"


@workflow
async def collector(ctx: WorkflowContext, channel: str = "box", mode: str = "competing") -> list[Any]:
    """Everything that comes until there is nothing for a moment."""
    await subscribe(ctx, channel, mode)
    seen: list[Any] = []
    try:
        while True:
            seen.append((await receive(ctx, channel, timeout_seconds=0)).data)
    except TimeoutError:
        return seen


async def collected(app: EddaApp, channel: str = "box") -> Any:
    return await result_of(app, await collector.start(channel=channel))


async def test_a_publication_in_the_body_is_one_message_over_all_replays(app: EddaApp) -> None:
    @workflow
    async def author(ctx: WorkflowContext) -> str:
        message_id = await publish(ctx, "box", 1)
        await sleep(ctx, 0.01)
        await sleep(ctx, 0.01)
        return message_id

    always_replay(app)
    instance_id = await author.start()
    message_id = await result_of(app, instance_id)
    assert str(uuid.UUID(message_id)) == message_id
    assert await collected(app) == [1]
    row = (await app.storage.get_history(instance_id))[0]
    assert (row["activity_id"], row["event_type"]) == ("publish_box:1", "MessagePublished")
    expected = {"channel": "box", "message_id": message_id, "target_instance_id": None}
    assert row["event_data"] == expected


async def test_messages_of_one_publisher_keep_their_order(app: EddaApp) -> None:
    for n in range(50):
        await publish(app.storage, "box", n)
    assert await collected(app) == list(range(50))


async def test_a_message_of_an_activity_exists_with_its_commit(app: EddaApp) -> None:
    tries = 0

    @activity(retry_policy=RetryPolicy(initial_interval=0.01))
    async def tell(ctx: WorkflowContext) -> None:
        nonlocal tries
        tries += 1
        await publish(ctx, "box", tries)
        await publish(app.storage, "box", -tries)
        if tries < 3:
            raise OSError

    @workflow
    async def author(ctx: WorkflowContext) -> None:
        await tell(ctx)

    instance_id = await author.start()
    assert await collected(app) == [3, -3]
    assert await steps_of(app, instance_id) == [("tell:1", "ActivityCompleted")]


@pytest.mark.parametrize("with_session", [False, True])
async def test_a_message_of_a_savepoint_goes_with_it(app: EddaApp, with_session: bool) -> None:
    @activity
    async def tell(ctx: WorkflowContext) -> None:
        if with_session:
            await (await ctx.session.connection()).exec_driver_sql("SELECT 1")
        await publish(ctx, "box", "outside")
        with contextlib.suppress(OSError):
            async with ctx.transaction():
                await publish(ctx, "box", "inside")
                raise OSError

    @workflow
    async def author(ctx: WorkflowContext) -> None:
        await tell(ctx)

    await author.start()
    assert await collected(app) == ["outside"]


async def test_a_block_of_the_body_publishes_all_or_nothing(app: EddaApp) -> None:
    @workflow
    async def author(ctx: WorkflowContext) -> None:
        async with ctx.transaction():
            await publish(ctx, "box", 1)
            await publish(ctx, "box", 2)
        with contextlib.suppress(OSError):
            async with ctx.transaction():
                await publish(ctx, "box", 3)
                raise OSError
        await sleep(ctx, 0.01)

    always_replay(app)
    await reached(app, await author.start())
    assert await collected(app) == [1, 2]


async def test_child_tasks_of_an_activity_publish_on_their_own(app: EddaApp) -> None:
    @activity
    async def fan_out(ctx: WorkflowContext) -> None:
        async def child(n: int) -> None:
            assert not ctx.in_transaction()
            await publish(app.storage, "box", n)

        await asyncio.gather(*(child(n) for n in range(10)))

    @workflow
    async def author(ctx: WorkflowContext) -> None:
        await fan_out(ctx)

    await author.start()
    assert sorted(await collected(app)) == list(range(10))


async def test_a_model_is_published_as_its_json_form(app: EddaApp) -> None:
    class Order(BaseModel):
        number: int

    await publish(app.storage, "box", Order(number=7))
    assert await collected(app) == [{"number": 7}]


async def test_what_cannot_be_stored_is_told_before_anything_is(app: EddaApp) -> None:
    with pytest.raises(TypeError, match="data"):
        await publish(app.storage, "box", object())
    with pytest.raises(PayloadTooLargeError):
        await publish(app.storage, "box", "x" * 9_000_000)
    with pytest.raises(TypeError, match="metadata is a dict"):
        await publish(app.storage, "box", 1, metadata="note")  # type: ignore[arg-type]
    assert await collected(app) == []


async def test_metadata_says_who_published_and_when(app: EddaApp) -> None:
    @workflow
    async def author(ctx: WorkflowContext) -> dict[str, Any]:
        await subscribe(ctx, "box")
        await publish(ctx, "box", 1, metadata={"source_instance_id": "mine"})
        await publish(ctx, "box", 2)
        first, second = [(await receive(ctx, "box")).metadata for _ in range(2)]
        return {"first": first, "second": second}

    instance_id = await author.start()
    result = await result_of(app, instance_id)
    assert result["first"]["source_instance_id"] == "mine"
    assert result["second"]["source_instance_id"] == instance_id
    assert result["second"]["published_at"].endswith("+00:00")


# -- to one instance ------------------------------------------------------------------------


@workflow
async def inbox(ctx: WorkflowContext, channel: str = "__direct__") -> list[Any]:
    await subscribe(ctx, channel, mode="direct")
    message = await receive(ctx, channel)
    return [message.channel, message.data]


@workflow
async def sender(ctx: WorkflowContext, to: str, channel: str = "__direct__") -> bool:
    return await send_to(ctx, to, {"hello": 1}, channel=channel)


async def test_a_message_sent_to_an_instance_that_waits_is_delivered(app: EddaApp) -> None:
    target, other = await inbox.start(), await inbox.start()
    sending = await sender.start(to=target)
    assert await result_of(app, sending) is True
    assert await result_of(app, target) == ["__direct__", {"hello": 1}]
    assert (await instance(app, other))["status"] == WAITING
    row = (await app.storage.get_history(sending))[0]
    fields: Any = row["event_data"]
    assert (row["activity_id"], row["event_type"]) == ("send_to___direct__:1", "MessageSent")
    assert set(fields) == {"channel", "message_id", "target_instance_id", "delivered"}


async def test_a_message_waits_for_its_target(app: EddaApp) -> None:
    @workflow
    async def late(ctx: WorkflowContext) -> Any:
        await receive(await _ready(ctx), "start")
        await subscribe(ctx, "own", mode="direct")
        return (await receive(ctx, "own")).data

    async def _ready(ctx: WorkflowContext) -> WorkflowContext:
        await subscribe(ctx, "start", "competing")
        return ctx

    target = await late.start()
    assert await result_of(app, await sender.start(to=target, channel="own")) is False
    await publish(app.storage, "start", 1)
    assert await result_of(app, target) == {"hello": 1}


async def test_a_publication_for_one_instance_is_seen_by_no_other(app: EddaApp) -> None:
    @workflow
    async def reader(ctx: WorkflowContext) -> Any:
        await subscribe(ctx, "box")
        return (await receive(ctx, "box")).data

    ids = [await reader.start() for _ in range(3)]
    await publish(app.storage, "box", "for you", target_instance_id=ids[1])
    assert await result_of(app, ids[1]) == "for you"
    assert [(await instance(app, one))["status"] for one in (ids[0], ids[2])] == [WAITING] * 2
    await publish(app.storage, "box", "for all")
    assert [await result_of(app, one) for one in (ids[0], ids[2])] == ["for all"] * 2


async def test_the_long_name_and_the_short_one_meet(app: EddaApp) -> None:
    target = await inbox.start(channel="own")
    await publish(app.storage, f"own:{target}", "by its long name")
    assert await result_of(app, target) == ["own", "by its long name"]


async def test_a_message_sent_in_an_activity_exists_with_its_commit(app: EddaApp) -> None:
    tries = 0

    @activity(retry_policy=RetryPolicy(initial_interval=0.01))
    async def tell(ctx: WorkflowContext, to: str) -> bool:
        nonlocal tries
        tries += 1
        delivered = await send_to(ctx, to, tries, channel="own")
        if tries < 2:
            raise OSError
        return delivered

    @workflow
    async def author(ctx: WorkflowContext, to: str) -> bool:
        return await tell(ctx, to)

    target = await inbox.start(channel="own")
    assert await result_of(app, await author.start(to=target)) is True
    assert await result_of(app, target) == ["own", 2]
