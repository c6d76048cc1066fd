"""Events to a real NATS JetStream: stored once, through outages, and in order for each key."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import nats
import pytest
from nats.aio.client import Client
from nats.js.api import StreamConfig

from edda.cloudevent import Event
from edda.outbox import OutboxRelayer, Postponed, Published, Refused
from edda.outbox.nats import NatsPublisher
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from tests.support.eventually import PATIENCE, eventually
from tests.support.nats_server import NatsServer, find_nats_server, running_nats_server
from tests.support.outbox import add
from tests.support.reaper import Reaper

PROGRAM = find_nats_server()
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="nats-server is not installed")

EVENT = Event(
    {"id": "e-1", "source": "/shop", "type": "order.paid", "subject": "ö 1", "tenant": "a"}, {"total": 12}
)


@pytest.fixture(scope="module")
async def running(reaper: Reaper) -> AsyncIterator[NatsServer]:
    async with running_nats_server(PROGRAM or "", reaper) as server:
        yield server


@pytest.fixture
async def server(running: NatsServer) -> AsyncIterator[NatsServer]:
    """A server with one empty stream, ``SHOP``, of all subjects ``shop.>``."""
    client = await nats.connect(running.url, reconnect_time_wait=0, max_reconnect_attempts=-1)
    jetstream = client.jetstream()
    await jetstream.add_stream(StreamConfig(name="SHOP", subjects=["shop.>"], max_msg_size=100_000))
    yield running
    for stream in await jetstream.streams_info():
        await jetstream.delete_stream(stream.config.name or "")
    await client.close()


@pytest.fixture
async def reader(server: NatsServer) -> AsyncIterator[Client]:
    client = await nats.connect(server.url, reconnect_time_wait=0, max_reconnect_attempts=-1)
    yield client
    await client.close()


@pytest.fixture
async def publisher(server: NatsServer) -> AsyncIterator[NatsPublisher]:
    publisher = new_publisher(server, "shop.events")
    await publisher.open()
    yield publisher
    await publisher.close()


def new_publisher(server: NatsServer, subject: str | Callable[[Event], str], **options: Any) -> NatsPublisher:
    """One that no slow machine makes give up an attempt."""
    return NatsPublisher(server.url, subject=subject, seconds=PATIENCE, connect_timeout=PATIENCE, **options)


def _check_disconnected(publisher: NatsPublisher) -> None:
    assert publisher._client is not None
    assert not publisher._client.is_connected


async def stored(reader: Client, number: int) -> tuple[str, dict[str, str], bytes]:
    message = await reader.jetstream().get_msg("SHOP", number)
    return message.subject or "", dict(message.headers or {}), message.data or b""


async def count(reader: Client) -> int:
    return (await reader.jetstream().stream_info("SHOP")).state.messages


async def test_an_event_is_stored_as_one_document(publisher: NatsPublisher, reader: Client) -> None:
    assert await publisher.publish(EVENT) == Published()
    subject, headers, data = await stored(reader, 1)
    assert (subject, headers) == (
        "shop.events",
        {"content-type": "application/cloudevents+json", "Nats-Msg-Id": "e-1"},
    )
    assert Event.from_json_object(json.loads(data)) == EVENT


async def test_in_binary_mode_the_attributes_are_headers(server: NatsServer, reader: Client) -> None:
    publisher = new_publisher(server, lambda event: f"shop.{event['type']}", mode="binary")
    assert await publisher.publish(EVENT) == Published()
    await publisher.close()
    subject, headers, data = await stored(reader, 1)
    assert (subject, json.loads(data)) == ("shop.order.paid", {"total": 12})
    assert headers == {
        "ce-id": "e-1",
        "ce-source": "/shop",
        "ce-type": "order.paid",
        "ce-subject": "%C3%B6%201",
        "ce-tenant": "a",
        "ce-specversion": "1.0",
        "content-type": "application/json",
        "Nats-Msg-Id": "e-1",
    }


async def test_an_event_that_is_sent_again_is_stored_once(publisher: NatsPublisher, reader: Client) -> None:
    assert [await publisher.publish(EVENT) for _ in range(2)] == [Published()] * 2
    assert await count(reader) == 1


async def test_what_the_stream_will_never_take_is_refused(
    publisher: NatsPublisher, server: NatsServer
) -> None:
    """Larger than the stream takes, larger than the server takes, and no subject."""
    for size in (200_000, 2_000_000):
        answer = await publisher.publish(Event(dict(EVENT), b"x" * size))
        assert isinstance(answer, Refused), answer
    nowhere = new_publisher(server, "shop. events")
    assert isinstance(await nowhere.publish(EVENT), Refused)
    await nowhere.close()
    assert await publisher.publish(EVENT) == Published()


async def test_a_subject_without_a_stream_waits_for_one(server: NatsServer, reader: Client) -> None:
    publisher = new_publisher(server, "news.events")
    assert await publisher.publish(EVENT) == Postponed("No stream has the subject 'news.events'")
    await reader.jetstream().add_stream(StreamConfig(name="NEWS", subjects=["news.>"]))
    assert await publisher.publish(EVENT) == Published()
    await publisher.close()


async def test_a_server_that_is_away_says_nothing_about_the_event(server: NatsServer) -> None:
    publisher = new_publisher(server, "shop.events")
    assert await publisher.publish(EVENT) == Published()
    await server.kill()
    await eventually(lambda: _check_disconnected(publisher))
    for _ in range(2):
        answer = await publisher.publish(EVENT)
        assert isinstance(answer, Postponed)
        assert (answer.counts, answer.broker_away) == (False, True)
    await server.start()
    assert await publisher.publish(EVENT) == Published()
    await publisher.close()
    await publisher.close()


@pytest.mark.parametrize("empty_database_url", ["sqlite", "postgresql"], indirect=True)
async def test_a_relayer_outlives_the_server_and_keeps_the_order(
    storage: SQLAlchemyStorage, server: NatsServer, reader: Client
) -> None:
    """The server is not there when the relayer starts, and is killed in the middle."""
    names = [f"{key}-{number:02}" for number in range(20) for key in "abc"]
    for name in names[:30]:
        await add(storage, name, source=f"/{name[0]}")
    await server.kill()
    publisher = NatsPublisher(server.url, subject="shop.events", seconds=5)
    relayer = OutboxRelayer(storage, server.url, poll_interval=0.05, max_retries=1, publisher=publisher)
    await relayer.start()
    try:
        await server.start()
        await _reaches(reader, 30)
        await server.kill()
        for name in names[30:]:
            await add(storage, name, source=f"/{name[0]}")
        await server.start()
        await _reaches(reader, 60)
    finally:
        await relayer.stop()
    assert await storage.seconds_until_outbox_due() is None
    arrived = [json.loads((await stored(reader, number + 1))[2])["id"] for number in range(60)]
    assert await count(reader) == 60
    for key in "abc":
        assert [name for name in arrived if name[0] == key] == [name for name in names if name[0] == key]


async def _reaches(reader: Client, expected: int) -> None:
    async def check() -> None:
        assert await count(reader) >= expected

    retried: Any = (AssertionError, OSError, nats.errors.Error)
    await eventually(check, retry_on=retried)
