"""Waiting for events."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from edda import (
    EventTimeoutError,
    HooksBase,
    ReceivedEvent,
    WorkflowContext,
    publish,
    send_to,
    sleep,
    subscribe,
    wait_event,
    workflow,
)
from edda.app import EddaApp
from edda.cloudevent import Event
from tests.support.apps import Apps, always_replay, instance, reached, result_of, steps_of

WAITING = "waiting_for_message"


def event(data: Any, **attributes: Any) -> Event:
    return Event({"type": "paid", "source": "shop", "id": "e-1", "specversion": "1.0"} | attributes, data)


@workflow
async def payment(ctx: WorkflowContext, count: int = 1) -> list[Any]:
    return [(await wait_event(ctx, "paid")).data for _ in range(count)]


async def test_an_event_is_shown_with_its_attributes(app: EddaApp) -> None:
    @workflow
    async def reader(ctx: WorkflowContext) -> dict[str, Any]:
        event = await wait_event(ctx, "paid")
        assert isinstance(event, ReceivedEvent)
        await sleep(ctx, 0.01)
        return {
            "data": event.data,
            "type": event.type,
            "source": event.source,
            "id": event.id,
            "time": event.time,
            "datacontenttype": event.datacontenttype,
            "subject": event.subject,
            "extensions": event.extensions,
        }

    always_replay(app)
    instance_id = await reader.start()
    attributes = {
        "time": "2030-01-01T00:00:00Z",
        "datacontenttype": "application/json",
        "subject": "s",
        "color": "red",
    }
    await app.handle_cloudevent(event({"amount": 5}, **attributes))
    assert await result_of(app, instance_id) == {
        "data": {"amount": 5},
        "type": "paid",
        "source": "shop",
        "id": "e-1",
        "time": "2030-01-01T00:00:00Z",
        "datacontenttype": "application/json",
        "subject": "s",
        "extensions": {"color": "red"},
    }


async def test_events_are_kept_from_the_first_wait_on(app: EddaApp) -> None:
    instance_id = await payment.start(count=3)
    for n in range(3):
        await app.handle_cloudevent(event(n, id=f"e-{n}"))
    assert await result_of(app, instance_id) == [0, 1, 2]
    assert [step for step, _ in await steps_of(app, instance_id)] == [f"receive_paid:{n}" for n in (1, 2, 3)]


async def test_the_same_event_is_seen_once(app: EddaApp) -> None:
    instance_id = await payment.start(count=2)
    for n in (1, 1, 2):
        await app.handle_cloudevent(event(n, id=f"e-{n}"))
    assert await result_of(app, instance_id) == [1, 2]


async def test_two_services_on_one_database_pass_an_event_on_once(apps: Apps) -> None:
    one, two = await apps.start("one"), await apps.start("two")
    handled: list[str] = []
    for app, name in ((one, "one"), (two, "two")):
        app.on_event("paid")(partial(_note, handled, name))
    with one.activate():
        instance_id = await payment.start(count=2)
    for app in (one, two):
        await app.handle_cloudevent(event(1), wait=True)
    await two.handle_cloudevent(event(2, id="e-2"))
    assert await result_of(one, instance_id) == [1, 2]
    assert sorted(handled)[:2] == ["one", "two"]


def _note(handled: list[str], name: str, _: Event) -> None:
    handled.append(name)


async def test_an_event_for_one_instance_reaches_only_that_one(app: EddaApp) -> None:
    first, second = await payment.start(), await payment.start()
    await app.handle_cloudevent(event("one", eddainstanceid=second))
    assert await result_of(app, second) == ["one"]
    assert (await instance(app, first))["status"] == WAITING
    await app.handle_cloudevent(event("all", id="e-2"))
    assert await result_of(app, first) == ["all"]


@pytest.mark.parametrize("replayed", [False, True])
async def test_a_timeout_is_an_error_of_its_own(app: EddaApp, replayed: bool) -> None:
    @workflow
    async def impatient(ctx: WorkflowContext) -> list[Any]:
        try:
            await wait_event(ctx, "paid", timeout_seconds=0.05)
        except EventTimeoutError as error:
            seen = [isinstance(error, TimeoutError), error.event_type, error.timeout_seconds, str(error)]
        await sleep(ctx, 0.01)
        return seen

    if replayed:
        always_replay(app)
    said = "Event 'paid' did not arrive within 0.05 seconds"
    instance_id = await impatient.start()
    assert await result_of(app, instance_id) == [True, "paid", 0.05, said]
    fields: Any = (await app.storage.get_history(instance_id))[0]["event_data"]
    assert (fields["error_type"], fields["error_message"]) == ("EventTimeoutError", said)


async def test_data_is_validated_into_the_model_and_the_event_consumed(app: EddaApp) -> None:
    class Paid(BaseModel):
        amount: int

    @workflow
    async def strict(ctx: WorkflowContext) -> list[Any]:
        seen: list[Any] = []
        for _ in range(2):
            try:
                seen.append((await wait_event(ctx, "paid", model=Paid)).data.amount)
            except ValidationError:
                seen.append("invalid")
        return seen

    instance_id = await strict.start()
    await app.handle_cloudevent(event({"amount": "much"}, id="e-1"))
    await app.handle_cloudevent(event({"amount": 5}, id="e-2"))
    assert await result_of(app, instance_id) == ["invalid", 5]


async def test_a_message_that_was_no_event_has_its_own_id(app: EddaApp) -> None:
    @workflow
    async def reader(ctx: WorkflowContext) -> list[Any]:
        event = await wait_event(ctx, "paid", event_id="mine")
        return [event.source, event.id, event.data]

    instance_id = await reader.start()
    message_id = await publish(app.storage, "paid", b"raw")
    await reached(app, instance_id)
    assert (await result_of(app, instance_id))[:2] == ["unknown", message_id]
    assert [step for step, _ in await steps_of(app, instance_id)] == ["mine"]


async def test_an_existing_subscription_is_used_as_it_is(app: EddaApp) -> None:
    @workflow
    async def private(ctx: WorkflowContext) -> Any:
        await subscribe(ctx, "paid", mode="direct")
        return (await wait_event(ctx, "paid")).data

    @workflow
    async def sender(ctx: WorkflowContext, to: str) -> None:
        await send_to(ctx, to, "direct", channel="paid")

    instance_id = await private.start()
    await app.handle_cloudevent(event("broadcast"))
    await sender.start(to=instance_id)
    assert await result_of(app, instance_id) == "direct"


async def test_an_observer_hears_of_a_taken_event_once(apps: Apps) -> None:
    class Observer(HooksBase):
        async def on_event_received(self, instance_id: str, event_type: str, event_data: Any) -> None:
            heard.append((instance_id, event_type, event_data))

    @workflow
    async def reader(ctx: WorkflowContext) -> None:
        await wait_event(ctx, "paid")
        await sleep(ctx, 0.01)

    heard: list[tuple[str, str, Any]] = []
    app = await apps.start(hooks=Observer())
    always_replay(app)
    instance_id = await reader.start()
    await app.handle_cloudevent(event({"n": 1}))
    await reached(app, instance_id)
    assert heard == [(instance_id, "paid", {"n": 1})]
