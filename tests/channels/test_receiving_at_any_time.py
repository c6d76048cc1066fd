"""Messages at every moment around the parking of those who receive them, and over their recurs."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from edda import (
    WorkflowContext,
    publish,
    receive,
    send_to,
    sleep,
    subscribe,
    wait_event,
    workflow,
)
from edda.app import EddaApp
from tests.support.apps import always_replay, reached, result_of
from tests.support.chains import chain_of
from tests.support.eventually import PATIENCE, eventually, pause
from tests.support.statements import counted

ROUNDS = 30


@pytest.mark.parametrize("mode", ["broadcast", "competing"])
async def test_a_message_at_the_moment_of_parking_needs_no_poll_to_be_found(
    no_polls: None, any_app: EddaApp, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The next one comes at most 5 ms after the last was received: before, while or after the run parks."""
    arrived = asyncio.Event()

    @workflow
    async def reader(ctx: WorkflowContext) -> list[int]:
        await subscribe(ctx, "news", mode)
        seen: list[int] = []
        for _ in range(ROUNDS):
            seen.append((await receive(ctx, "news")).data)
            if not ctx.is_replaying:
                arrived.set()
        return seen

    chance = random.Random(mode)
    instance_id = await reader.start()
    with caplog.at_level(logging.WARNING):
        for n in range(ROUNDS):
            arrived.clear()
            await publish(any_app.storage, "news", n)
            async with asyncio.timeout(PATIENCE):
                await arrived.wait()
            await pause(chance.uniform(0, 0.005))
    assert await result_of(any_app, instance_id) == list(range(ROUNDS))
    assert not caplog.records


# -- recurs ------------------------------------------------------------------------------


@workflow
async def one_by_one(ctx: WorkflowContext, total: int, mode: str, seen: list[int]) -> list[int]:
    """Handles one message in each incarnation."""
    await subscribe(ctx, "news", mode)
    seen = [*seen, (await receive(ctx, "news")).data]
    if len(seen) < total:
        await ctx.recur(total=total, mode=mode, seen=seen)
    return seen


@pytest.mark.parametrize("mode", ["broadcast", "competing"])
async def test_a_successor_goes_on_where_its_predecessor_was(app: EddaApp, mode: str) -> None:
    """Of 25 messages five wait together, and the others come while the chain recurs."""
    first = await one_by_one.start(total=25, mode=mode, seen=[])
    await asyncio.gather(*(publish(app.storage, "news", n) for n in range(5)))
    for n in range(5, 25):
        await publish(app.storage, "news", n)
    assert await _end_of(app, first, 25) == list(range(25))


async def _end_of(app: EddaApp, first_id: str, length: int) -> Any:
    async def last() -> Any:
        chain = await chain_of(app, first_id)
        assert len(chain) == length
        return chain[-1]["instance_id"]

    return await result_of(app, await eventually(last))


Sending = Callable[[EddaApp, str], Awaitable[Any]]


@workflow
async def sends(ctx: WorkflowContext, to: str) -> bool:
    return await send_to(ctx, to, 3, channel="own")


async def _send(app: EddaApp, to: str) -> None:
    assert await result_of(app, await sends.start(to=to)) is True


async def _publish_to_long_name(app: EddaApp, to: str) -> None:
    await publish(app.storage, f"own:{to}", 3)


@workflow
async def own_messages(ctx: WorkflowContext, seen: list[int]) -> list[int]:
    await subscribe(ctx, "own", mode="direct")
    seen = [*seen, (await receive(ctx, "own")).data]
    if len(seen) < 4:
        await ctx.recur(seen=seen)
    return seen


@pytest.mark.parametrize("send", [_send, _publish_to_long_name])
async def test_an_id_that_has_recurred_still_names_the_live_end_of_its_chain(
    app: EddaApp, send: Sending
) -> None:
    first = await own_messages.start(seen=[])
    for n in range(3):
        await publish(app.storage, f"own:{first}", n)

    async def parked_after_three_recurs() -> list[str]:
        chain = await chain_of(app, first)
        assert [row["status"] for row in chain] == ["recurred"] * 3 + ["waiting_for_message"]
        return [row["instance_id"] for row in chain]

    ids = await eventually(parked_after_three_recurs)
    await send(app, first)
    assert await result_of(app, ids[-1]) == [0, 1, 2, 3]


# -- replays -----------------------------------------------------------------------------


async def test_a_replayed_wait_asks_nothing_about_channels(app: EddaApp) -> None:
    @workflow
    async def reader(ctx: WorkflowContext) -> list[Any]:
        seen = [(await wait_event(ctx, "paid")).data for _ in range(5)]
        await sleep(ctx, 3600)
        return seen

    always_replay(app)
    instance_id = await reader.start()
    for n in range(5):
        await publish(app.storage, "paid", n)
    await reached(app, instance_id, "waiting_for_timer")
    with counted() as statements:
        await reader.resume(instance_id)
    assert statements.containing("workflow_history"), "it was replayed"
    asked = statements.containing("workflow_channels") + statements.containing("workflow_messages")
    assert asked == []
