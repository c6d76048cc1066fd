"""What a message costs from its publication to the line that waits for it: one commit, if both are here."""

from __future__ import annotations

import asyncio
from itertools import groupby
from typing import Any

import pytest

from edda import WorkflowContext, publish, receive, subscribe, workflow
from edda.app import EddaApp
from tests.support.apps import engine_of, result_of
from tests.support.eventually import eventually
from tests.support.statements import Statements, counted

pytestmark = pytest.mark.resident

# An inbox row, the channel locked and saved, the message; who waits; the subscription, what there is
# for it, the lease, the row in the history, its position, the end of its wait; the notification.
MOST_STATEMENTS = 12


@workflow
async def costly_listener(ctx: WorkflowContext, channel: str, mode: str, count: int) -> list[Any]:
    await subscribe(ctx, channel, mode=mode)
    return [(await receive(ctx, channel)).data for _ in range(count)]


def cost(statements: Statements) -> int:
    """On SQLite a question is asked for each row, in the process itself."""
    return len([text for text, _ in groupby(statements.texts)])


async def parked(app: EddaApp, count: int) -> None:
    async def check() -> None:
        assert engine_of(app).resident == count

    await eventually(check)


@pytest.mark.parametrize("mode", ["broadcast", "competing"])
async def test_a_message_costs_one_commit_until_its_receiver_goes_on(app: EddaApp, mode: str) -> None:
    instance_id = await costly_listener.start(channel="news", mode=mode, count=2)
    await parked(app, 1)
    engine = engine_of(app)
    with counted() as seen:
        await publish(app.storage, "news", 1)
        assert engine.resident == 0, "it goes on with the commit of the publication"
        assert seen.commits == 1
        assert cost(seen) <= MOST_STATEMENTS, "\n".join(seen.texts)
    await parked(app, 1)
    await publish(app.storage, "news", 2)
    assert await result_of(app, instance_id) == [1, 2]


async def test_nobody_looks_for_what_goes_on_with_the_publication(app: EddaApp) -> None:
    await costly_listener.start(channel="news", mode="broadcast", count=1)
    await parked(app, 1)
    with counted() as seen:
        await publish(app.storage, "news", 1)
        await parked(app, 0)
    assert seen.containing("SKIP LOCKED") == []
    assert seen.containing("SET due_at") == []


async def test_of_many_who_compete_one_goes_on_for_each_message(app: EddaApp) -> None:
    ids = [await costly_listener.start(channel="jobs", mode="competing", count=1) for _ in range(5)]
    await parked(app, 5)
    await asyncio.gather(*(publish(app.storage, "jobs", number) for number in range(2)))
    await parked(app, 3)
    await asyncio.gather(*(publish(app.storage, "jobs", number) for number in range(2, 5)))
    taken = [await result_of(app, one) for one in ids]
    assert sorted(taken) == [[number] for number in range(5)]


async def test_whoever_is_alone_in_a_stream_receives_it_in_order(app: EddaApp) -> None:
    instance_id = await costly_listener.start(channel="news", mode="broadcast", count=40)
    for number in range(40):
        await publish(app.storage, "news", number)
    assert await result_of(app, instance_id) == list(range(40))
