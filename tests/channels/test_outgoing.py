"""``send_event``: one POST, in a body once for all replays."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from edda import RetryPolicy, WorkflowContext, activity, send_event, sleep, workflow
from edda.app import EddaApp
from tests.support.apps import Apps, always_replay, reached, result_of, steps_of
from tests.support.sink import Reply, Sink, running_sink

QUICK = RetryPolicy(initial_interval=0.01, backoff_coefficient=1.0, max_attempts=3)


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    async with running_sink() as sink:
        yield sink


@pytest.fixture
async def app(apps: Apps) -> EddaApp:
    return await apps.start(default_retry_policy=QUICK)


async def test_outside_of_a_run_it_is_a_post(sink: Sink) -> None:
    await send_event("paid", "/shop", {"n": 1}, sink.url)
    await send_event("paid", "/shop", b"\x00", sink.url, datacontenttype="image/png")
    first, second = sink.received
    assert first.headers["content-type"] == "application/cloudevents+json"
    event_id = first.event["id"]
    assert str(uuid.UUID(event_id)) == event_id
    expected = {"specversion": "1.0", "type": "paid", "source": "/shop", "id": event_id}
    assert first.event == expected | {"data": {"n": 1}}
    assert (second.event["data_base64"], second.event["datacontenttype"]) == ("AA==", "image/png")
    assert second.id != event_id


@pytest.mark.parametrize("status", [400, 404, 503])
async def test_a_failed_post_raises_the_error_of_the_client(sink: Sink, status: int) -> None:
    sink.behaviour = lambda _: Reply(status)
    with pytest.raises(httpx2.HTTPStatusError) as caught:
        await send_event("paid", "/shop", 1, sink.url)
    assert caught.value.response.status_code == status
    await sink.stop()
    with pytest.raises(httpx2.HTTPError):
        await send_event("paid", "/shop", 1, sink.url)


async def test_what_cannot_be_an_event_is_not_sent(sink: Sink) -> None:
    wrong: list[tuple[Any, Any, Any]] = [("", "/s", 1), ("t", None, 1), ("t", "/s", object())]
    for event_type, source, data in wrong:
        with pytest.raises((TypeError, ValueError)):
            await send_event(event_type, source, data, sink.url)
    assert sink.received == []


async def test_in_a_body_it_is_sent_once_for_all_replays(app: EddaApp, sink: Sink) -> None:
    always_replay(app)

    @workflow
    async def order(ctx: WorkflowContext) -> None:
        await send_event("paid", "/shop", {"n": 1}, sink.url)
        await sleep(ctx, 0.05)
        await send_event("paid", "/shop", {"n": 2}, sink.url)

    instance_id = await order.start()
    await reached(app, instance_id)
    first, second = await sink.takes(2)
    assert [step for step, _ in await steps_of(app, instance_id)] == [
        "send_event_paid:1",
        "sleep:1",
        "send_event_paid:2",
    ]
    row = (await app.storage.get_history(instance_id))[0]
    assert row["event_type"] == "EventSent"
    assert row["event_data"] == {
        "event_id": first.id,
        "event_type": "paid",
        "event_source": "/shop",
        "broker_url": sink.url,
    }
    assert first.id != second.id


async def test_a_failure_in_a_body_is_recorded_and_raised_again(app: EddaApp, sink: Sink) -> None:
    always_replay(app)
    sink.answer(404, then=404)
    seen: list[tuple[Any, ...]] = []

    @workflow
    async def order(ctx: WorkflowContext) -> int:
        try:
            await send_event("paid", "/shop", 1, sink.url)
        except httpx2.HTTPStatusError as error:
            seen.append((type(error), str(error), vars(error), error.status_code))  # type: ignore[attr-defined]
        await sleep(ctx, 0.05)
        return len(seen)

    assert await result_of(app, await order.start()) == 2
    assert seen[0] == seen[1]
    assert seen[0][3] == 404
    assert "answered event" in seen[0][1]
    await sink.takes(1)


async def test_a_broker_that_is_not_there_fails_the_step(app: EddaApp, sink: Sink) -> None:
    await sink.stop()

    @workflow
    async def order(ctx: WorkflowContext) -> None:
        await send_event("paid", "/shop", 1, sink.url)

    with pytest.raises(httpx2.HTTPError) as caught:
        await order.start()
    [row, _] = await app.storage.get_history(caught.value.instance_id)  # type: ignore[attr-defined]
    assert isinstance(row["event_data"], dict)
    assert "exception" in row["event_data"]


async def test_a_post_that_was_not_recorded_is_repeated_with_the_same_id(app: EddaApp, sink: Sink) -> None:
    """As after a crash between the two: an activity is the shortest way to run code again."""

    @activity
    async def tell(ctx: WorkflowContext) -> None:
        await send_event("paid", "/shop", len(sink.received), sink.url)
        if len(sink.received) < 3:
            raise OSError

    @workflow
    async def order(ctx: WorkflowContext) -> None:
        await tell(ctx)
        await tell(ctx)

    instance_id = await order.start()
    received = await sink.takes(4)
    assert len({each.id for each in received[:3]}) == 1
    assert received[3].id != received[0].id
    assert [kind for _, kind in await steps_of(app, instance_id)] == ["ActivityCompleted"] * 2
