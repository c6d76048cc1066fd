"""One POST, whatever the other side does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from edda.cloudevent import Event
from edda.outbox.answers import Postponed, Published, Refused
from edda.outbox.publisher import HttpPublisher
from tests.support.sink import Reply, Sink

EVENT = Event({"type": "paid", "source": "/s", "id": "e-1"}, {"n": 1})


def publisher_to(url: str, **options: Any) -> HttpPublisher:
    usual: dict[str, Any] = {
        "connections": 2,
        "seconds": 30.0,
        "mode": "structured",
        "headers": {},
        "authorization": None,
        "trace_headers": True,
    }
    return HttpPublisher(url, **(usual | options))


@pytest.fixture
async def publisher(sink: Sink) -> AsyncIterator[HttpPublisher]:
    publisher = publisher_to(sink.url)
    await publisher.open()
    yield publisher
    await publisher.close()


async def test_events_share_a_connection(publisher: HttpPublisher, sink: Sink) -> None:
    for _ in range(3):
        assert await publisher.publish(EVENT) == Published()
    assert len(sink._connections) == 1


async def test_a_redirect_is_not_followed(publisher: HttpPublisher, sink: Sink) -> None:
    sink.behaviour = lambda _: Reply(302, {"location": sink.url})
    assert isinstance(await publisher.publish(EVENT), Postponed)
    await sink.takes(1)


async def test_an_answer_without_a_text_is_quoted_by_its_reason(publisher: HttpPublisher, sink: Sink) -> None:
    sink.behaviour = lambda _: Reply(404)
    assert await publisher.publish(EVENT) == Refused("HTTP 404: Status")


async def test_a_huge_answer_is_not_read_to_its_end(publisher: HttpPublisher, sink: Sink) -> None:
    sink.behaviour = lambda _: Reply(404, body="x" * 10_000_000)
    assert await publisher.publish(EVENT) == Refused("HTTP 404: " + "x" * 200)
    sink.behaviour = lambda _: Reply()
    assert await publisher.publish(EVENT) == Published()


async def test_a_broker_that_is_not_there_is_away(publisher: HttpPublisher, sink: Sink) -> None:
    await sink.stop()
    answer = await publisher.publish(EVENT)
    assert isinstance(answer, Postponed)
    assert (answer.broker_away, answer.counts) == (True, False)
    assert "Error: " in answer.error


async def test_a_broker_that_hangs_up_is_away(publisher: HttpPublisher, sink: Sink) -> None:
    sink.behaviour = lambda _: Reply(after=asyncio.Event())
    sending = asyncio.create_task(publisher.publish(EVENT))
    await sink.takes(1)
    await sink.stop()
    answer = await sending
    assert isinstance(answer, Postponed)
    assert answer.broker_away


async def test_an_attempt_ends_in_time_although_the_broker_drips(
    sink: Sink,
) -> None:
    publisher = publisher_to(sink.url, seconds=0.2)
    await publisher.open()
    sink.behaviour = lambda _: Reply(body="x" * 1000, drips=True)
    answer = await publisher.publish(EVENT)
    assert isinstance(answer, Postponed)
    assert answer.broker_away
    assert answer.error == "TimeoutError: no answer within 0.2 seconds"
    await publisher.close()


async def test_fixed_headers_do_not_replace_those_of_the_event(sink: Sink) -> None:
    publisher = publisher_to(
        sink.url, headers={"content-type": "x", "X-A": "1"}, authorization=lambda: "Bearer 1"
    )
    with pytest.raises(RuntimeError, match="not open"):
        await publisher.publish(EVENT)
    await publisher.open()
    await publisher.open()
    await publisher.publish(EVENT)
    await publisher.close()
    await publisher.close()
    (received,) = sink.received
    assert received.headers["content-type"] == "application/cloudevents+json"
    assert (received.headers["x-a"], received.headers["authorization"]) == ("1", "Bearer 1")
