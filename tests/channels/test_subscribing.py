"""Subscriptions: their modes, their conflicts, their end."""

from __future__ import annotations

from typing import Any

import pytest

from edda import (
    WorkflowContext,
    activity,
    publish,
    race,
    receive,
    sleep,
    subscribe,
    unsubscribe,
    wait_event,
    workflow,
)
from edda.app import EddaApp
from edda.channels import ChannelModeConflictError
from tests.support.apps import always_replay, reached, result_of, steps_of

WAITING = "waiting_for_message"


@workflow
async def member(ctx: WorkflowContext, mode: str) -> Any:
    await subscribe(ctx, "club", mode)
    return (await receive(ctx, "club")).data


async def test_another_mode_is_a_conflict_until_the_last_subscriber_has_ended(app: EddaApp) -> None:
    first = await member.start(mode="broadcast")
    with pytest.raises(ChannelModeConflictError) as raised:
        await member.start(mode="competing")
    error = raised.value
    assert (error.channel, error.existing_mode, error.requested_mode) == ("club", "broadcast", "competing")
    assert str(error) == (
        "Channel 'club' is already configured as 'broadcast' mode. Cannot subscribe with 'competing' mode."
    )
    await publish(app.storage, "club", 1)
    await reached(app, first)
    second = await member.start(mode="competing")
    assert await result_of(app, second) == 1


async def test_a_conflict_is_seen_again_on_replay(app: EddaApp) -> None:
    @workflow
    async def handling(ctx: WorkflowContext) -> list[str]:
        try:
            await subscribe(ctx, "club", "competing")
        except ChannelModeConflictError as error:
            seen = [error.existing_mode]
        await sleep(ctx, 0.01)
        return seen

    always_replay(app)
    first = await member.start(mode="broadcast")
    instance_id = await handling.start()
    await publish(app.storage, "club", 1)
    await reached(app, first)  # from now on the mode would be free
    assert await result_of(app, instance_id) == ["broadcast"]


async def test_only_three_modes_are_known(app: EddaApp) -> None:
    said = "Invalid subscription mode: loud. Must be 'broadcast', 'competing', or 'direct'"
    with pytest.raises(ValueError, match=said):
        await member.start(mode="loud")


async def test_a_second_subscription_changes_nothing(app: EddaApp) -> None:
    @workflow
    async def eager(ctx: WorkflowContext) -> list[Any]:
        await subscribe(ctx, "club")
        await publish(ctx, "club", 1)
        await subscribe(ctx, "club")
        await publish(ctx, "club", 2)
        return [(await receive(ctx, "club")).data for _ in range(2)]

    instance_id = await eager.start()
    assert await result_of(app, instance_id) == [1, 2]
    assert [step for step, _ in await steps_of(app, instance_id)] == [
        "subscribe_club:1",
        "publish_club:1",
        "subscribe_club:2",
        "publish_club:2",
        "receive_club:1",
        "receive_club:2",
    ]


async def test_subscriptions_are_recorded_and_made_once(app: EddaApp) -> None:
    @workflow
    async def leaving(ctx: WorkflowContext) -> list[Any]:
        await subscribe(ctx, "club")
        await sleep(ctx, 0.01)
        await unsubscribe(ctx, "club")
        await sleep(ctx, 0.01)
        await subscribe(ctx, "club")
        await publish(ctx, "club", "late")
        await sleep(ctx, 0.01)
        return [(await receive(ctx, "club")).data]

    always_replay(app)
    instance_id = await leaving.start()
    await publish(app.storage, "club", "early")
    assert await result_of(app, instance_id) in (["late"], ["early"])
    rows = await app.storage.get_history(instance_id)
    kinds = [str(row["event_type"]) for row in rows if "Channel" in str(row["event_type"])]
    assert kinds[:3] == ["ChannelSubscribed", "ChannelUnsubscribed", "ChannelSubscribed"]
    assert rows[0]["event_data"] == {"channel": "club", "mode": "broadcast"}


async def test_an_instance_that_ends_leaves_no_subscription(app: EddaApp) -> None:
    @workflow
    async def failing(ctx: WorkflowContext) -> None:
        await subscribe(ctx, "club", "competing")
        await subscribe(ctx, "club", "direct")
        raise ValueError

    with pytest.raises(ValueError) as raised:
        await failing.start()
    subscriber = raised.value.instance_id  # type: ignore[attr-defined]
    assert await app.storage.load_subscriptions(subscriber) == []
    await member.start(mode="broadcast")


async def test_nor_does_one_that_a_replay_ends(any_app: EddaApp) -> None:
    """The replay does not come to the wait that subscribed, since that has lost a race."""

    @workflow
    async def racing(ctx: WorkflowContext) -> None:
        await race(ctx, sleep(ctx, 0.01), wait_event(ctx, "club"))
        await sleep(ctx, 0.01)

    instance_id = await racing.start()
    await reached(any_app, instance_id)
    assert await any_app.storage.load_subscriptions(instance_id) == []


async def test_an_activity_can_subscribe(app: EddaApp) -> None:
    @activity
    async def enrol(ctx: WorkflowContext) -> None:
        await subscribe(ctx, "club")

    @workflow
    async def outer(ctx: WorkflowContext) -> Any:
        await enrol(ctx)
        return (await receive(ctx, "club")).data

    always_replay(app)
    instance_id = await outer.start()
    await reached(app, instance_id, WAITING)
    await publish(app.storage, "club", 1)
    assert await result_of(app, instance_id) == 1
    assert await app.storage.load_subscriptions(instance_id) == []
