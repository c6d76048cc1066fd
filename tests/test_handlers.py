"""Handlers of events run from the stored event, each until it succeeds or gives up."""

from __future__ import annotations

import asyncio
import functools
import threading
from typing import Any

import pytest
from cloudevents.core.v1.event import CloudEvent as CloudEventV2
from cloudevents.v1.http import CloudEvent as CloudEventV1

from edda import RetryPolicy, TerminalError, WorkflowContext, workflow
from edda.app import EddaApp
from edda.cloudevent import Event
from tests.support.apps import Apps, instance, reached
from tests.support.eventually import until
from tests.support.noting import calls, note


@workflow
async def followed(ctx: WorkflowContext, item: str) -> None:
    await note(ctx, item)


def ordered(event_id: str = "1", data: Any = None) -> Event:
    return Event.from_json_object(
        {
            "specversion": "1.0",
            "id": event_id,
            "source": "/shop",
            "type": "order.placed",
            "datacontenttype": "application/json",
            "data": {"item": "book"} if data is None else data,
        }
    )


async def test_registering_returns_the_function_and_keeps_the_order(apps: Apps) -> None:
    app = apps.make()

    def one(event: Event) -> None: ...

    def two(event: Event) -> None: ...

    assert app.on_event("t")(one) is one
    assert app.on_event("t", proto_type="P")(two) is two
    assert app.event_handlers == {"t": [one, two]}
    assert two._proto_type == "P"  # type: ignore[attr-defined]


async def test_only_functions_can_handle_events(apps: Apps) -> None:
    with pytest.raises(TypeError, match="decorates functions"):
        apps.make().on_event("t")(5)  # type: ignore[arg-type]


async def test_every_handler_gets_the_event_sync_ones_in_a_thread(app: EddaApp) -> None:
    @app.on_event("order.placed")
    async def first(event: Event) -> None:
        calls.append(("first", event["id"], event["source"], event.data))

    @app.on_event("order.placed")
    def second(event: Event) -> None:
        calls.append(("second", threading.current_thread() is threading.main_thread()))

    await app.handle_cloudevent(ordered(), wait=True)

    assert sorted(calls) == [("first", "1", "/shop", {"item": "book"}), ("second", False)]


@pytest.mark.parametrize("generation", [CloudEventV1, CloudEventV2], ids=["1.x", "2.x"])
async def test_events_of_both_generations_come_in_and_read_alike(app: EddaApp, generation: Any) -> None:
    @app.on_event("order.placed")
    async def handle(event: Any) -> None:
        calls.append((event["type"], event.data, event.get_data(), event.get_attributes()["id"]))

    attributes = {"type": "order.placed", "source": "/shop", "id": "1", "specversion": "1.0"}
    await app.handle_cloudevent(generation(attributes, {"item": "book"}), wait=True)
    assert calls == [("order.placed", {"item": "book"}, {"item": "book"}, "1")]


async def test_a_handler_is_tried_again_until_it_succeeds(app: EddaApp) -> None:
    app.event_retry_policy = RetryPolicy(initial_interval=0.01, max_attempts=3)

    @app.on_event("order.placed")
    async def flaky(event: Event) -> None:
        calls.append("flaky")
        if len(calls) < 3:
            raise OSError("not yet")

    await app.handle_cloudevent(ordered(), wait=True)
    assert calls == ["flaky"] * 3


async def test_a_handler_that_raises_is_logged_and_stops_no_other(
    app: EddaApp, caplog: pytest.LogCaptureFixture
) -> None:
    app.event_retry_policy = RetryPolicy(initial_interval=0.01, max_attempts=2)

    @app.on_event("order.placed")
    async def broken(event: Event) -> None:
        calls.append("broken")
        raise OSError("no")

    @app.on_event("order.placed")
    async def fine(event: Event) -> None:
        calls.append("fine")

    await app.handle_cloudevent(ordered(), wait=True)

    assert sorted(calls) == ["broken", "broken", "fine"]
    assert "Error handling event order.placed: Activity broken failed after 2 attempts" in caplog.text


async def test_a_terminal_error_of_a_handler_is_not_tried_again(app: EddaApp) -> None:
    @app.on_event("order.placed")
    async def hopeless(event: Event) -> None:
        calls.append("hopeless")
        raise TerminalError("no")

    await app.handle_cloudevent(ordered(), wait=True)
    assert calls == ["hopeless"]


async def test_without_wait_the_handlers_run_in_the_background(app: EddaApp) -> None:
    go_on = asyncio.Event()

    @app.on_event("order.placed")
    async def slow(event: Event) -> None:
        await go_on.wait()
        calls.append("slow")

    await app.handle_cloudevent(ordered())
    assert calls == []
    go_on.set()
    await until(lambda: calls == ["slow"])


async def test_a_repeated_event_is_handled_once(app: EddaApp) -> None:
    @app.on_event("order.placed")
    async def handle(event: Event) -> None:
        calls.append(event["id"])

    await app.handle_cloudevent(ordered("1"), wait=True)
    await app.handle_cloudevent(ordered("1"), wait=True)
    await app.handle_cloudevent(ordered("2"), wait=True)
    assert calls == ["1", "2"]


async def test_two_services_on_one_database_both_handle_an_event(apps: Apps) -> None:
    for name in ("one", "two"):
        app = await apps.start(name)
        app.on_event("order.placed")(functools.partial(_note_service, name))
        await app.handle_cloudevent(ordered(), wait=True)
    assert calls == ["one", "two"]


async def test_a_handler_run_again_gets_the_instance_that_it_started_before(app: EddaApp) -> None:
    app.event_retry_policy = RetryPolicy(initial_interval=0.01)
    started: list[str] = []

    @app.on_event("order.placed")
    async def start_it(event: Event) -> None:
        started.append(await followed.start(item=event.data["item"]))
        started.append(await followed.start(item="second"))
        if len(started) < 4:
            raise OSError("after the start")

    await app.handle_cloudevent(ordered(), wait=True)

    assert started[:2] == started[2:]
    assert started[0] != started[1]
    for instance_id in started:
        await reached(app, instance_id)
    assert calls == ["book", "second"]


async def test_two_handlers_of_one_event_start_two_instances(app: EddaApp) -> None:
    started: list[str] = []
    for _ in range(2):

        @app.on_event("order.placed")
        async def start_it(event: Event) -> None:
            started.append(await followed.start(item="book"))

    await app.handle_cloudevent(ordered(), wait=True)
    assert len(set(started)) == 2


async def test_anything_that_can_be_called_can_handle_events(app: EddaApp) -> None:
    class Handler:
        async def __call__(self, event: Event) -> None:
            calls.append("object")

    app.on_event("order.placed")(Handler())
    app.on_event("order.placed")(functools.partial(_note_service, "partial"))

    await app.handle_cloudevent(ordered(), wait=True)
    assert sorted(calls) == ["object", "partial"]


async def test_a_handler_is_run_by_the_next_worker_after_a_shutdown(apps: Apps) -> None:
    first = await apps.start()
    first.drain_seconds = 0.05
    stuck = asyncio.Event()

    @first.on_event("order.placed")
    async def handle(event: Event) -> None:
        calls.append(event["id"])
        if len(calls) == 1:
            await stuck.wait()

    await first.handle_cloudevent(ordered())
    await until(lambda: calls == ["1"])
    await first.shutdown()
    second = apps.make()
    second.on_event("order.placed")(handle)
    await second.initialize()

    await until(lambda: calls == ["1", "1"])


async def test_a_handler_precedes_the_workflow_of_the_same_name(apps: Apps) -> None:
    app = apps.make()

    @workflow(event_handler=True)
    async def paid(ctx: WorkflowContext, /, **data: Any) -> None:
        calls.append("workflow")

    @app.on_event("paid")
    async def handle(event: Event) -> None:
        calls.append("handler")

    await app.initialize()
    event = Event.from_json_object({**ordered().to_json_object(), "type": "paid"})
    await app.handle_cloudevent(event, wait=True)
    assert calls == ["handler"]


async def test_the_failed_run_of_a_handler_stays_visible(app: EddaApp) -> None:
    @app.on_event("order.placed")
    async def hopeless(event: Event) -> None:
        raise TerminalError("no")

    (run,) = await app._require_worker().ingest.accept([ordered()])
    outcome = await run

    row = await instance(app, outcome.error.instance_id)
    assert (row["workflow_name"], row["status"]) == ("tests.on_event", "failed")


async def test_an_event_whose_handler_gave_up_is_listed_and_handled_after_all(app: EddaApp) -> None:
    """The handler that succeeded is not run again; what the other one started before is what it gets."""
    app.event_retry_policy = RetryPolicy(initial_interval=0.01, max_attempts=2)
    started: list[str] = []

    @app.on_event("order.placed")
    async def fine(event: Event) -> None:
        calls.append("fine")

    @app.on_event("order.placed")
    async def broken(event: Event) -> None:
        started.append(await followed.start(item=event.data["item"]))
        if len(started) < 4:
            raise OSError("not yet")

    await app.handle_cloudevent(ordered(), wait=True)
    (letter,) = await app.storage.get_dead_letters()
    assert (letter["event"], letter["owner_service"]) == (ordered().to_json_object(), "tests")
    assert isinstance(letter["failed_handlers"], dict)
    assert list(letter["failed_handlers"]) == ["broken:1"]
    assert await app.storage.requeue_dead_letter(str(letter["instance_id"]))
    await reached(app, str(letter["instance_id"]))
    assert (len(started), len(set(started)), calls.count("fine")) == (4, 1, 1)
    assert await app.storage.get_dead_letters() == []
    assert not await app.storage.requeue_dead_letter(str(letter["instance_id"]))


def _note_service(name: str, event: Event) -> None:
    calls.append(name)
