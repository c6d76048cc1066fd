"""When a relayer looks, and how much it takes at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from tests.outbox.conftest import Relayers
from tests.support.eventually import eventually, until
from tests.support.outbox import add
from tests.support.sink import Reply, Sink
from tests.support.statements import counted


async def test_an_idle_relayer_writes_nothing(
    storage: SQLAlchemyStorage, relayers: Relayers, sink: Sink
) -> None:
    with counted() as statements:
        await relayers.start(storage, poll_interval=0.01)

        def check() -> None:
            assert len(statements.containing("workflow_outbox_keys")) >= 10

        await eventually(check)
    assert statements.commits == 0
    assert not statements.containing("UPDATE")


async def test_an_outage_costs_few_statements_for_each_attempt_and_none_between(
    storage: SQLAlchemyStorage, relayers: Relayers, sink: Sink
) -> None:
    """However many events wait for the broker: nobody goes round in circles over them."""
    sink.behaviour = lambda _: Reply(503)
    for number in range(100):
        await add(storage, f"e-{number}")
    await relayers.start(storage, poll_interval=0.02, batch_size=5)
    await until(lambda: len(sink.received) >= 10)  # by then the outage is known
    with counted() as statements:
        before = len(sink.received)
        await until(lambda: len(sink.received) >= before + 20)
        attempts = len(sink.received) - before
    # A lease and a mark are a commit each; a look is one query.
    assert statements.commits <= 2 * attempts + 2
    assert len(statements.texts) <= 15 * (attempts + 1)


async def test_more_is_taken_as_soon_as_there_is_room(
    storage: SQLAlchemyStorage, relayers: Relayers, sink: Sink
) -> None:
    """No poll in between: it comes once a minute."""
    for number in range(30):
        await add(storage, f"e-{number}")
    await relayers.start(storage, poll_interval=60, batch_size=3)
    await sink.takes(30)


async def test_an_event_whose_time_comes_is_sent_without_a_poll(
    storage: SQLAlchemyStorage, relayers: Relayers, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edda.outbox.verdicts.LONGEST_BACK_OFF", 0.2)
    sink.answer(503)
    await add(storage, "e-1")
    await relayers.start(storage, poll_interval=60)
    first, second = await sink.takes(2)
    assert second.at - first.at >= 0.18


async def test_a_long_queue_of_one_key_hides_no_other(
    storage: SQLAlchemyStorage, relayers: Relayers, sink: Sink
) -> None:
    stalled = asyncio.Event()

    def behave(received: Any) -> Reply:
        return Reply(after=stalled) if received.event["source"] == "/long" else Reply()

    sink.behaviour = behave
    await add(storage, *(f"l-{number}" for number in range(20)), source="/long")
    await add(storage, "other")
    await relayers.start(storage, batch_size=2)

    def check() -> None:
        assert {received.id for received in sink.received} == {"l-0", "other"}

    await eventually(check)
    stalled.set()
    await sink.takes(21)


@pytest.mark.parametrize("empty_database_url", ["sqlite"], indirect=True)
async def test_more_arrivals_than_are_received_at_once_are_all_sent(
    storage: SQLAlchemyStorage, relayers: Relayers, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edda.storage.relaying._ARRIVALS", 3)
    await add(storage, *(f"e-{number}" for number in range(10)), source="/s")
    for number in range(10, 20):
        await add(storage, f"e-{number}")
    await relayers.start(storage, poll_interval=60)
    await sink.takes(20)
