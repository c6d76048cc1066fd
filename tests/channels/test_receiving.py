"""Receiving from channels: each message once, in order, whenever it comes."""

from __future__ import annotations

import asyncio
from itertools import chain
from typing import Any

import pytest

from edda import (
    ChannelMessage,
    WorkflowContext,
    clock,
    publish,
    receive,
    sleep,
    subscribe,
    unsubscribe,
    workflow,
)
from edda.app import EddaApp
from edda.channels.receiving import check_timeout
from tests.support.apps import always_replay, instance, reached, result_of, steps_of

WAITING = "waiting_for_message"


@workflow
async def listener(ctx: WorkflowContext, count: int, mode: str = "broadcast") -> list[Any]:
    await subscribe(ctx, "news", mode)
    return [(await receive(ctx, "news")).data for _ in range(count)]


@pytest.mark.parametrize("mode", ["broadcast", "competing"])
async def test_messages_are_received_in_the_order_of_publication(app: EddaApp, mode: str) -> None:
    instance_id = await listener.start(count=3, mode=mode)
    assert (await instance(app, instance_id))["status"] == WAITING
    for n in range(3):
        await publish(app.storage, "news", n)
    await reached(app, instance_id)
    assert await result_of(app, instance_id) == [0, 1, 2]


async def test_a_message_is_shown_with_all_it_has(app: EddaApp) -> None:
    @workflow
    async def reader(ctx: WorkflowContext) -> dict[str, Any]:
        await subscribe(ctx, "news")
        message = await receive(ctx, "news")
        assert isinstance(message, ChannelMessage)
        return {
            "id": message.id,
            "channel": message.channel,
            "data": message.data,
            "kind": message.metadata["kind"],
            "is_utc": message.published_at.utcoffset() is not None,
        }

    given = {"kind": "test"}
    instance_id = await reader.start()
    message_id = await publish(app.storage, "news", {"n": 1}, metadata=given)
    await reached(app, instance_id)
    shown = {"id": message_id, "channel": "news", "data": {"n": 1}, "kind": "test", "is_utc": True}
    assert await result_of(app, instance_id) == shown
    assert given == {"kind": "test"}, "the metadata of the caller is not changed"
    row = (await app.storage.get_history(instance_id))[1]
    fields: Any = row["event_data"]
    assert (row["activity_id"], row["event_type"]) == ("receive_news:1", "ChannelMessageReceived")
    assert set(fields) == {"id", "channel", "data", "metadata", "published_at"}


@pytest.mark.parametrize(
    "payload", [bytes(range(256)), [1, 2], "x", 3.5, True, None, {"a": {"b": []}}, ""], ids=repr
)
async def test_payloads_come_back_equal_and_of_the_same_type(app: EddaApp, payload: Any) -> None:
    @workflow
    async def reader(ctx: WorkflowContext) -> Any:
        await subscribe(ctx, "news")
        first = await receive(ctx, "news")
        second = await receive(ctx, "news")
        await sleep(ctx, 0.001)
        return [first.data == second.data == payload, type(first.data) is type(second.data) is type(payload)]

    always_replay(app)
    instance_id = await reader.start()
    await publish(app.storage, "news", payload)
    await publish(app.storage, "news", payload)
    assert await result_of(app, instance_id) == [True, True]


async def test_what_was_published_before_a_broadcast_subscription_is_not_seen(app: EddaApp) -> None:
    await publish(app.storage, "news", "old")
    instance_id = await listener.start(count=1)
    await publish(app.storage, "news", "new")
    await reached(app, instance_id)
    assert await result_of(app, instance_id) == ["new"]


async def test_competing_receivers_see_what_nobody_has_taken(app: EddaApp) -> None:
    for n in range(4):
        await publish(app.storage, "news", n)
    ids = await asyncio.gather(*(listener.start(count=2, mode="competing") for _ in range(2)))
    for instance_id in ids:
        await reached(app, instance_id)
    taken = [await result_of(app, instance_id) for instance_id in ids]
    assert sorted(chain.from_iterable(taken)) == [0, 1, 2, 3]
    assert all(one == sorted(one) for one in taken)


async def test_messages_that_come_while_nobody_waits_are_kept(app: EddaApp) -> None:
    @workflow
    async def busy(ctx: WorkflowContext) -> list[Any]:
        await subscribe(ctx, "news")
        await sleep(ctx, 0.05)
        return [(await receive(ctx, "news")).data for _ in range(2)]

    instance_id = await busy.start()
    await publish(app.storage, "news", 1)
    await publish(app.storage, "news", 2)
    await reached(app, instance_id)
    assert await result_of(app, instance_id) == [1, 2]


async def test_the_given_id_is_the_id_of_the_step(app: EddaApp) -> None:
    @workflow
    async def named(ctx: WorkflowContext) -> Any:
        await subscribe(ctx, "news")
        return (await receive(ctx, "news", message_id="mine")).data

    instance_id = await named.start()
    await publish(app.storage, "news", 1)
    await reached(app, instance_id)
    assert [step for step, _ in await steps_of(app, instance_id)] == ["subscribe_news:1", "mine"]


# -- waiting in vain ---------------------------------------------------------------------


@pytest.mark.parametrize("replayed", [False, True])
async def test_a_timeout_is_raised_in_the_body_live_and_on_replay(app: EddaApp, replayed: bool) -> None:
    @workflow
    async def impatient(ctx: WorkflowContext) -> list[Any]:
        await subscribe(ctx, "news")
        try:
            await receive(ctx, "news", timeout_seconds=0.1)
        except TimeoutError as error:
            seen = [type(error).__name__, str(error)]
        await sleep(ctx, 0.01)
        return seen

    if replayed:
        always_replay(app)
    began = clock.monotonic()
    instance_id = await impatient.start()
    await reached(app, instance_id)
    assert clock.monotonic() - began >= 0.1
    said = "Message on channel 'news' did not arrive within timeout"
    assert await result_of(app, instance_id) == ["TimeoutError", said]
    row = (await app.storage.get_history(instance_id))[1]
    fields: Any = row["event_data"]
    assert (row["activity_id"], row["event_type"]) == ("receive_news:1", "MessageTimeout")
    assert (fields["_error"], fields["error_type"], fields["error_message"]) == (True, "TimeoutError", said)
    assert (fields["channel"], "timeout_at" in fields) == ("news", True)


async def test_no_seconds_do_not_wait(app: EddaApp) -> None:
    @workflow
    async def glancing(ctx: WorkflowContext) -> list[Any]:
        await subscribe(ctx, "news", "competing")
        seen: list[Any] = []
        for _ in range(2):
            try:
                seen.append((await receive(ctx, "news", timeout_seconds=0)).data)
            except TimeoutError:
                seen.append("nothing")
        return seen

    await publish(app.storage, "news", "something")
    assert await result_of(app, await glancing.start()) == ["something", "nothing"]


async def test_the_deadline_does_not_move_with_spurious_resumes(app: EddaApp) -> None:
    @workflow
    async def patient(ctx: WorkflowContext) -> None:
        await subscribe(ctx, "news")
        await receive(ctx, "news", timeout_seconds=3600)

    always_replay(app)
    instance_id = await patient.start()
    deadlines = []
    for _ in range(3):
        row = await app.storage.load_instance(instance_id)
        assert row is not None
        assert row.status == WAITING
        deadlines.append(row.due_at)
        await patient.resume(instance_id)
    assert deadlines[0] is not None
    assert len(set(deadlines)) == 1


async def test_a_timeout_is_a_time(app: EddaApp) -> None:
    assert (check_timeout(None), check_timeout(0), check_timeout(1.5)) == (None, 0, 1.5)
    with pytest.raises(ValueError, match="negative"):
        check_timeout(-1)
    with pytest.raises(TypeError, match="number"):
        check_timeout("soon")  # type: ignore[arg-type]


# -- misuse --------------------------------------------------------------------------------


async def test_without_a_subscription_the_body_gets_an_error_that_a_replay_repeats(app: EddaApp) -> None:
    @workflow
    async def deaf(ctx: WorkflowContext) -> list[Any]:
        try:
            await receive(ctx, "news")
        except ValueError as error:
            said = str(error)
        await subscribe(ctx, "news", "competing")
        return [said, (await receive(ctx, "news")).data]

    always_replay(app)
    instance_id = await deaf.start()
    await publish(app.storage, "news", 1)
    await reached(app, instance_id)
    said = f"Instance {instance_id} is not subscribed to channel news"
    assert await result_of(app, instance_id) == [said, 1]


async def test_without_a_subscription_nobody_waits_for_ever(app: EddaApp) -> None:
    @workflow
    async def deaf(ctx: WorkflowContext) -> None:
        await receive(ctx, "news")

    with pytest.raises(ValueError, match="is not subscribed to channel news") as raised:
        await deaf.start()
    assert (await instance(app, raised.value.instance_id))["status"] == "failed"  # type: ignore[attr-defined]


async def test_after_unsubscribing_nothing_is_received(app: EddaApp) -> None:
    @workflow
    async def leaving(ctx: WorkflowContext) -> None:
        await subscribe(ctx, "news")
        await unsubscribe(ctx, "news")
        await unsubscribe(ctx, "never heard of")
        await receive(ctx, "news")

    with pytest.raises(ValueError, match="not subscribed"):
        await leaving.start()


async def test_a_message_is_not_received_inside_a_transaction_block(app: EddaApp) -> None:
    @workflow
    async def blocked(ctx: WorkflowContext) -> None:
        await subscribe(ctx, "news")
        async with ctx.transaction():
            await receive(ctx, "news")

    with pytest.raises(RuntimeError, match=r"cannot be part of ctx.transaction\(\)"):
        await blocked.start()


@pytest.mark.parametrize(("channel", "error"), [("", ValueError), ("x" * 201, ValueError), (7, TypeError)])
async def test_a_channel_has_a_name(app: EddaApp, channel: Any, error: type[Exception]) -> None:
    @workflow
    async def lost(ctx: WorkflowContext) -> None:
        await receive(ctx, channel)

    with pytest.raises(error, match="the name of a channel"):
        await lost.start()
