"""What is in the outbox reaches the broker: in order for each key, whatever the broker does."""

from __future__ import annotations

import asyncio
import itertools
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import select

from edda.outbox import OutboxRelayer
from edda.storage.models import workflow_outbox
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.types import DataForm
from tests.outbox.conftest import Relayers
from tests.support.eventually import eventually
from tests.support.outbox import add
from tests.support.sink import Received, Reply, Sink


async def rows(storage: SQLAlchemyStorage) -> dict[str, Any]:
    """All rows of the outbox by event id."""
    async with storage.engine.connect() as connection:
        return {row.event_id: row for row in await connection.execute(select(workflow_outbox))}


async def ended(storage: SQLAlchemyStorage, **statuses: str) -> dict[str, Any]:
    """Wait until these events have these statuses; returns all rows."""

    async def check() -> dict[str, Any]:
        found = await rows(storage)
        assert {name: found[name].status for name in statuses} == statuses
        return found

    return await eventually(check)


async def test_an_event_is_posted_as_a_structured_cloudevent(
    storage: SQLAlchemyStorage, relayers: Relayers, sink: Sink
) -> None:
    await relayers.start(storage)
    fields = {"source": "/shop", "subject": "o-1", "extensions": '{"tenant":"a"}'}
    await add(storage, "e-1", event_type="paid", data='{"total":1.5}', **fields)
    (received,) = await sink.takes(1)
    found = await ended(storage, **{"e-1": "published"})
    assert received.headers["content-type"] == "application/cloudevents+json"
    event = received.event
    recorded_at = datetime.fromisoformat(event.pop("time"))
    assert event == {
        "specversion": "1.0",
        "id": "e-1",
        "type": "paid",
        "source": "/shop",
        "subject": "o-1",
        "tenant": "a",
        "datacontenttype": "application/json",
        "data": {"total": 1.5},
    }
    assert recorded_at == found["e-1"].created_at
    assert found["e-1"].published_at >= recorded_at


async def test_bytes_and_texts_are_sent_as_they_are(
    storage: SQLAlchemyStorage, relayers: Relayers, sink: Sink
) -> None:
    await add(storage, "b", data="AAE=", form=DataForm.BASE64, content_type="image/png", source="/s")
    await add(storage, "t", data='"plain"', content_type="text/plain", source="/s")
    await relayers.start(storage)
    binary, text = (received.event for received in await sink.takes(2))
    assert (binary["data_base64"], binary["datacontenttype"]) == ("AAE=", "image/png")
    assert "data" not in binary
    assert (text["data"], text["datacontenttype"]) == ("plain", "text/plain")


async def test_in_binary_mode_with_headers_and_authorization(
    storage: SQLAlchemyStorage, relayers: Relayers, sink: Sink
) -> None:
    tokens = iter(["Bearer 1", "Bearer 2"])

    async def authorize() -> str:
        return next(tokens)

    trace = '{"traceparent":"00-1-2-01"}'
    await add(storage, "e-1", "e-2", source="/s", data='{"n":1}', extensions=trace)
    await relayers.start(storage, mode="binary", headers={"X-Tenant": "a"}, authorization=authorize)
    first, second = await sink.takes(2)
    assert (first.headers["ce-id"], first.headers["ce-type"]) == ("e-1", "order.created")
    assert (first.headers["content-type"], first.body) == ("application/json", b'{"n":1}')
    assert (first.headers["x-tenant"], first.headers["traceparent"]) == ("a", "00-1-2-01")
    assert [each.headers["authorization"] for each in (first, second)] == ["Bearer 1", "Bearer 2"]


async def test_trace_headers_can_be_left_out(
    storage: SQLAlchemyStorage, relayers: Relayers, sink: Sink
) -> None:
    await add(storage, "e-1", extensions='{"traceparent":"00-1-2-01"}')
    await relayers.start(storage, trace_headers=False, authorization="Basic x")
    (received,) = await sink.takes(1)
    assert "traceparent" not in received.headers
    assert received.event["traceparent"] == "00-1-2-01"
    assert received.headers["authorization"] == "Basic x"


@pytest.mark.parametrize("status", [408, 425, 429, 302, 500, 501, 502, 503, 504])
async def test_what_may_pass_is_tried_again(
    storage: SQLAlchemyStorage, relayers: Relayers, sink: Sink, status: int
) -> None:
    sink.answer(status, body="busy")
    await add(storage, "e-1")
    await relayers.start(storage, poll_interval=0.02)
    await sink.takes(2)
    found = await ended(storage, **{"e-1": "published"})
    counted = status not in {429, 502, 503, 504}
    assert (found["e-1"].retry_count, found["e-1"].failures) == (int(counted), 1)
    assert found["e-1"].last_error == f"HTTP {status}: busy"


@pytest.mark.parametrize("status", [400, 401, 404, 413, 422])
async def test_what_the_broker_refuses_is_invalid_at_once(
    storage: SQLAlchemyStorage, relayers: Relayers, sink: Sink, status: int
) -> None:
    sink.behaviour = lambda received: Reply(status if received.id == "bad" else 202, body="é\0" + "x" * 1000)
    await add(storage, "bad", "good", source="/s")
    await relayers.start(storage)
    found = await ended(storage, bad="invalid", good="published")
    await sink.takes(2)
    assert found["bad"].last_error == f"HTTP {status}: é�" + "x" * 198


async def test_an_event_is_given_up_after_max_retries_counted_failures(
    storage: SQLAlchemyStorage, relayers: Relayers, sink: Sink
) -> None:
    bad = {f"bad-{number}" for number in range(10)}

    def behave(received: Received) -> Reply:
        return Reply(500, body=received.id) if received.id in bad else Reply()

    sink.behaviour = behave
    for event_id in sorted(bad):
        await add(storage, event_id)
    await add(storage, "good")
    await relayers.start(storage, poll_interval=0.02, max_retries=3, batch_size=4)
    found = await ended(storage, good="published", **dict.fromkeys(bad, "failed"))
    await sink.takes(31)
    assert {found[name].retry_count for name in bad} == {3}
    assert {found[name].last_error for name in bad} == {f"HTTP 500: {name}" for name in bad}


async def test_an_answer_that_says_nothing_about_the_event_is_not_counted(
    storage: SQLAlchemyStorage, relayers: Relayers, sink: Sink
) -> None:
    sink.answer(503, 500, 429, 502, 504, then=500)
    await add(storage, "e-1")
    await relayers.start(storage, poll_interval=0.01, max_retries=2)
    found = await ended(storage, **{"e-1": "failed"})
    await sink.takes(6)
    assert (found["e-1"].retry_count, found["e-1"].failures) == (2, 6)


async def test_a_waiting_event_holds_back_its_key_and_no_other(
    storage: SQLAlchemyStorage, relayers: Relayers, sink: Sink
) -> None:
    failures = iter([503, 503])
    sink.behaviour = lambda received: Reply(next(failures, 202) if received.id == "a-1" else 202)
    await add(storage, "a-1", "a-2", "a-3", source="/a")
    await add(storage, *(f"b-{number}" for number in range(5)), source="/b")
    await relayers.start(storage, poll_interval=0.2)
    received = [each.id for each in await sink.takes(10)]
    assert [name for name in received if name[0] == "a"] == ["a-1", "a-1", "a-1", "a-2", "a-3"]
    assert [name for name in received if name[0] == "b"] == [f"b-{number}" for number in range(5)]
    assert received.index("b-4") < received.index("a-2")


async def test_keys_are_sent_side_by_side_and_one_key_one_after_the_other(
    storage: SQLAlchemyStorage, relayers: Relayers, sink: Sink
) -> None:
    go_on = asyncio.Event()
    sink.behaviour = lambda _: Reply(after=go_on)
    for number in range(12):
        await add(storage, f"e-{number}", source=f"/{number % 6}")
    await relayers.start(storage, batch_size=4)
    await sink.takes(4)
    go_on.set()
    await sink.takes(12)
    assert set(sink.together.values()) == {1}


async def test_retry_after_is_honoured(storage: SQLAlchemyStorage, relayers: Relayers, sink: Sink) -> None:
    sink.answer(429, headers={"retry-after": "1"})
    await add(storage, "e-1")
    await relayers.start(storage, poll_interval=0.01)
    first, second = await sink.takes(2)
    assert second.at - first.at >= 1.0


async def test_after_an_outage_everything_is_sent_and_nothing_is_counted(
    storage: SQLAlchemyStorage, relayers: Relayers, sink: Sink
) -> None:
    """The waits would last for many seconds: the first success ends them."""
    await sink.stop()
    for number in range(6):
        await add(storage, f"e-{number}")
    await relayers.start(storage, poll_interval=0.2, max_retries=1)

    async def check_failing() -> None:
        failures = sum(row.failures for row in (await rows(storage)).values())
        assert failures >= 12

    await eventually(check_failing)
    await sink.start()
    await sink.takes(6)
    found = await ended(storage, **dict.fromkeys([f"e-{number}" for number in range(6)], "published"))
    assert {row.retry_count for row in found.values()} == {0}


async def test_while_the_broker_is_away_one_event_at_a_time_asks_for_it(
    storage: SQLAlchemyStorage, relayers: Relayers, sink: Sink
) -> None:
    sink.behaviour = lambda _: Reply(503)
    for number in range(50):
        await add(storage, f"e-{number}")
    await relayers.start(storage, poll_interval=0.3, batch_size=5)

    def check() -> None:
        assert len(sink.received) >= 8

    await eventually(check)
    probes = [received.at for received in sink.received[5:8]]
    assert all(later - earlier >= 0.3 for earlier, later in itertools.pairwise(probes))


async def test_an_event_that_is_too_old_is_not_sent(
    storage: SQLAlchemyStorage, relayers: Relayers, sink: Sink
) -> None:
    await add(storage, "old", source="/s")
    relayer = await relayers.start(storage, max_age_hours=1e-9)
    found = await ended(storage, old="expired")
    assert found["old"].last_error == "Exceeded max age (1e-09 hours)"
    await relayer.stop()
    await add(storage, "new", source="/s")
    await relayers.start(storage, max_age_hours=1)
    (received,) = await sink.takes(1)
    assert received.id == "new"


async def test_a_commit_of_another_process_is_found_by_polling_or_the_wake_event(
    storage: SQLAlchemyStorage, relayers: Relayers, sink: Sink
) -> None:
    await relayers.start(storage)
    await add(storage, "polled")
    await sink.takes(1)
    wake = asyncio.Event()
    await relayers.start(storage, poll_interval=60, wake_event=wake)
    await relayers._started[0].stop()
    await add(storage, "woken")
    wake.set()
    await sink.takes(2)
    assert not wake.is_set()


async def test_starting_and_stopping_may_be_repeated(
    storage: SQLAlchemyStorage, relayers: Relayers, sink: Sink
) -> None:
    relayer = await relayers.start(storage)
    await relayer.start()
    await relayer.stop()
    await relayer.stop()
    await add(storage, "e-1")
    await relayer.start()
    await sink.takes(1)
    await OutboxRelayer(storage, sink.url).stop()


async def test_a_stop_lets_what_is_being_sent_end(
    storage: SQLAlchemyStorage, relayers: Relayers, sink: Sink
) -> None:
    answered = asyncio.Event()
    sink.behaviour = lambda _: Reply(after=answered)
    await add(storage, "e-1", "e-2", source="/s")
    relayer = await relayers.start(storage)
    await sink.takes(1)
    stopping = asyncio.create_task(relayer.stop())
    answered.set()
    await stopping
    assert {name: row.status for name, row in (await rows(storage)).items()} == {
        "e-1": "published",
        "e-2": "pending",
    }


async def test_a_stop_hands_back_what_does_not_end(
    storage: SQLAlchemyStorage, relayers: Relayers, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edda.outbox.relayer._STOPPING_SECONDS", 0.05)
    sink.behaviour = lambda _: Reply(after=asyncio.Event())
    await add(storage, "e-1")
    relayer = await relayers.start(storage)
    await sink.takes(1)
    await relayer.stop()
    [pending] = await storage.get_pending_outbox_events()
    assert pending["event_id"] == "e-1"
    sink.behaviour = lambda _: Reply()
    await relayers.start(storage)
    first, second = await sink.takes(2)
    assert first.id == second.id


async def test_two_relayers_share_the_work_without_sending_anything_twice(
    storage: SQLAlchemyStorage, relayers: Relayers, sink: Sink
) -> None:
    other = SQLAlchemyStorage(storage.engine.url.render_as_string(hide_password=False))
    await other.open(migrate=True)
    try:
        await relayers.start(storage)
        await relayers.start(other)
        for number in range(100):
            await add((storage, other)[number % 2], f"e-{number}", source=f"/{number % 7}")
        await sink.takes(100)
        await ended(storage, **{f"e-{number}": "published" for number in range(100)})
        await relayers.stop()
    finally:
        await other.close()
    assert len({received.id for received in sink.received}) == 100
    assert set(sink.together.values()) == {1}


async def test_pending_events_are_shown_as_they_were_given(storage: SQLAlchemyStorage) -> None:
    await add(storage, "a", data='{"n":1}', source="/s")
    await add(storage, "b", data="AAE=", form=DataForm.BASE64, content_type="image/png")
    await add(storage, "c")
    first, second = await storage.get_pending_outbox_events(2)
    created_at = first.pop("created_at")
    assert datetime.fromisoformat(str(created_at)).tzinfo is not None
    assert first == {
        "event_id": "a",
        "event_type": "order.created",
        "event_source": "/s",
        "event_data": {"n": 1},
        "content_type": "application/json",
        "status": "pending",
        "retry_count": 0,
        "last_error": None,
        "published_at": None,
    }
    assert (second["event_id"], second["event_data"]) == ("b", b"\x00\x01")
    assert len(await storage.get_pending_outbox_events()) == 3


@pytest.mark.parametrize(
    "options",
    [
        {"broker_url": "ftp://h/"},
        {"broker_url": ""},
        {"broker_url": "http://h:port/"},
        {"poll_interval": 0},
        {"poll_interval": float("nan")},
        {"max_retries": 0},
        {"batch_size": 1.5},
        {"batch_size": True},
        {"max_age_hours": -1},
        {"mode": "batch"},
        {"mode": "binary", "publisher": object()},
        {"headers": {"x": "y"}, "publisher": object()},
        {"authorization": "", "publisher": object()},
        {"trace_headers": False, "publisher": object()},
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        OutboxRelayer(None, **{"broker_url": "http://h/", **options})  # type: ignore[arg-type]
