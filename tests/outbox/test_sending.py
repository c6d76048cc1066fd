"""Sending the events of one key under one lease."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from edda import clock
from edda.clock import monotonic
from edda.cloudevent import Event
from edda.exceptions import StorageError
from edda.outbox import OutboxRelayer
from edda.outbox.answers import Answer, Published
from edda.outbox.outage import Outage
from edda.outbox.sending import KeySender
from edda.outbox.verdicts import RetryRules
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.writes_outbox import OutboxMarked
from tests.outbox.conftest import Relayers
from tests.support.eventually import eventually
from tests.support.outbox import add, lease

pytestmark = pytest.mark.parametrize("empty_database_url", ["sqlite"], indirect=True)


class Fake:
    """A publisher that notes events and answers as told."""

    def __init__(self, answer: Callable[[Event], Answer] = lambda _: Published()) -> None:
        self.events: list[Event] = []
        self.answer = answer

    async def open(self) -> None:
        self.opened = True

    async def close(self) -> None:
        self.opened = False

    async def publish(self, event: Event) -> Answer:
        self.events.append(event)
        return self.answer(event)


def sender(storage: Any, publisher: Fake, *, stopping: bool = False) -> KeySender:
    rules = RetryRules(0.01, 3, None)
    return KeySender(
        storage,
        publisher,
        rules,
        Outage(),
        lease_seconds=60.0,
        send_seconds=30.0,
        is_stopping=lambda: stopping,
    )


async def test_a_key_is_given_back_after_many_events_in_a_row(storage: SQLAlchemyStorage) -> None:
    await add(storage, *(f"e-{number}" for number in range(60)), source="/s")
    publisher = Fake()
    (event,) = await lease(storage)
    await sender(storage, publisher).send(event, asked_at=monotonic())
    assert [event["id"] for event in publisher.events] == [f"e-{number}" for number in range(50)]
    (event,) = await lease(storage)
    assert event.event_id == "e-50"


async def test_a_key_is_given_back_when_the_relayer_stops(storage: SQLAlchemyStorage) -> None:
    await add(storage, "a", "b", source="/s")
    publisher = Fake()
    (event,) = await lease(storage)
    await sender(storage, publisher, stopping=True).send(event, asked_at=monotonic())
    assert len(publisher.events) == 1
    assert len(await lease(storage)) == 1


async def test_nothing_is_sent_under_a_lease_that_might_end_meanwhile(storage: SQLAlchemyStorage) -> None:
    await add(storage, "a", source="/s")
    publisher = Fake()
    (event,) = await lease(storage)
    await sender(storage, publisher).send(event, asked_at=monotonic() - 31)
    assert publisher.events == []


async def test_a_row_that_makes_no_event_is_invalid(storage: SQLAlchemyStorage) -> None:
    await add(storage, "a", source="/s", event_type="")
    publisher = Fake()
    (event,) = await lease(storage)
    await sender(storage, publisher).send(event, asked_at=monotonic())
    assert publisher.events == []
    assert await storage.seconds_until_outbox_due() is None


async def test_an_error_of_the_publisher_is_no_fault_of_the_event(
    storage: SQLAlchemyStorage, relayers: Relayers, caplog: pytest.LogCaptureFixture
) -> None:
    failures = iter([OSError("first"), KeyError("second"), ValueError("third")])

    def answer(_: Event) -> Answer:
        for error in failures:
            raise error
        return Published()

    publisher = Fake(answer)
    await add(storage, "a")
    await relayers.start(storage, publisher=publisher, poll_interval=0.01, max_retries=1)

    async def check() -> None:
        assert await storage.seconds_until_outbox_due() is None

    await eventually(check)
    assert len(publisher.events) == 4
    assert publisher.opened
    assert "Sending event a failed" in caplog.text


class Hanging(Fake):
    """A publisher whose first attempt does not end."""

    cancelled = 0

    async def publish(self, event: Event) -> Answer:
        self.events.append(event)
        if len(self.events) > 1:
            return Published()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled += 1
        raise AssertionError("unreachable")


async def test_an_attempt_that_does_not_end_is_cancelled_before_the_next_one(
    storage: SQLAlchemyStorage, relayers: Relayers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OutboxRelayer, "send_seconds", 0.05)
    publisher = Hanging()
    await add(storage, "a")
    await relayers.start(storage, publisher=publisher, max_retries=1)

    async def check() -> None:
        (row,) = await storage.get_outbox_events("published")
        assert row["last_error"] == "TimeoutError: no answer within 0.05 seconds"

    await eventually(check, retry_on=(AssertionError, ValueError))
    assert (len(publisher.events), publisher.cancelled) == (2, 1)


async def test_a_publisher_that_keeps_raising_fills_no_log(
    storage: SQLAlchemyStorage, relayers: Relayers, caplog: pytest.LogCaptureFixture
) -> None:
    def answer(_: Event) -> Answer:
        raise OSError("away")

    publisher = Fake(answer)
    await add(storage, "a")
    await relayers.start(storage, publisher=publisher, poll_interval=0.001)

    async def check() -> None:
        assert len(publisher.events) >= 10

    await eventually(check)
    assert [record.levelname for record in caplog.records].count("ERROR") == 3
    assert [record.levelname for record in caplog.records].count("WARNING") == 1


class Refusing:
    """A storage that cannot store marks."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    async def submit(self, write: Any, *, within: float | None = None) -> Any:
        self.asked.append(write)
        raise StorageError("away")


async def test_a_database_that_is_away_leaves_the_event_to_the_next_lease(
    storage: SQLAlchemyStorage, caplog: pytest.LogCaptureFixture
) -> None:
    await add(storage, "a", "b", source="/s")
    publisher, refusing = Fake(), Refusing()
    (event,) = await lease(storage)
    await sender(refusing, publisher).send(event, asked_at=monotonic())
    assert [type(write) for write in refusing.asked] == [OutboxMarked]
    assert len(publisher.events) == 1
    assert "will be sent again" in caplog.text


async def test_the_time_of_an_event_is_that_of_its_recording(
    storage: SQLAlchemyStorage, relayers: Relayers
) -> None:
    before = clock.now()
    await add(storage, "a")
    after = clock.now()
    publisher = Fake()
    relayer: OutboxRelayer = await relayers.start(storage, publisher=publisher)

    def check() -> None:
        assert len(publisher.events) == 1

    await eventually(check)
    await relayer.stop()
    time = publisher.events[0].get_time()
    assert time is not None
    assert before <= time <= after
    assert not publisher.opened


async def test_a_cancelled_attempt_hands_its_event_back(storage: SQLAlchemyStorage) -> None:
    begun = asyncio.Event()

    class Stalling(Fake):
        async def publish(self, event: Event) -> Answer:
            begun.set()
            await asyncio.Event().wait()
            raise AssertionError

    await add(storage, "a")
    (event,) = await lease(storage)
    task = asyncio.create_task(sender(storage, Stalling()).send(event, asked_at=monotonic()))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (again,) = await lease(storage)
    assert (again.event_id, again.failures) == ("a", 0)
