"""Accepted events: all or nothing, once, and what they start."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from edda import WorkflowContext, sleep, workflow
from edda.app import EddaApp
from edda.cloudevent import Event
from edda.exceptions import InvalidEventError
from edda.ingest import arguments_of
from edda.workflow import Workflow
from tests.support.apps import Apps
from tests.support.asgi import request
from tests.support.eventually import eventually, pause, until
from tests.support.statements import counted

started: list[dict[str, Any]] = []


class Order(BaseModel):
    item: str
    count: int = 1


@pytest.fixture(autouse=True)
def _forget() -> None:
    started.clear()


def event(data: Any = None, event_id: str | None = "1", **attributes: Any) -> Event:
    fields = {"specversion": "1.0", "id": event_id, "source": "/shop", "type": "placed", "data": data}
    return Event.from_json_object({**fields, **attributes})


def placing() -> Workflow[Any, Any]:
    @workflow(event_handler=True)
    async def placed(ctx: WorkflowContext, item: str, count: int = 1) -> None:
        started.append({"id": ctx.instance_id, "item": item, "count": count})

    return placed


async def test_an_event_starts_the_workflow_of_its_type_with_its_data(app: EddaApp) -> None:
    placing()
    await app.handle_cloudevent(event({"item": "book", "count": 2}), wait=True)
    assert [(each["item"], each["count"]) for each in started] == [("book", 2)]


async def test_an_event_of_a_type_that_nobody_knows_is_accepted(app: EddaApp) -> None:
    await app.handle_cloudevent(event(type="nobody.knows"), wait=True)


async def test_a_workflow_that_is_no_event_handler_is_not_started(app: EddaApp) -> None:
    @workflow
    async def placed(ctx: WorkflowContext, /, **data: Any) -> None:
        started.append(data)

    await app.handle_cloudevent(event({"item": "book"}), wait=True)
    assert started == []


async def test_a_repeated_event_starts_nothing_again(app: EddaApp) -> None:
    placing()
    for _ in range(2):
        await app.handle_cloudevent(event({"item": "book"}), wait=True)
    assert len(started) == 1


async def test_the_same_event_sent_many_times_at_once_starts_one_instance(apps: Apps) -> None:
    both = [await apps.start(), await apps.start()]
    placing()
    many = [both[number % 2].handle_cloudevent(event({"item": "book"}), wait=True) for number in range(20)]
    await asyncio.gather(*many)
    assert len(started) == 1


async def test_events_that_come_together_are_stored_together(apps: Apps) -> None:
    """50 requests, a handful of commits."""
    app = await apps.start()
    headers = {"ce-source": "/s", "ce-type": "nobody.waits", "ce-specversion": "1.0"}
    await request(app, "POST", "/", headers=headers | {"ce-id": "first"})
    with counted() as statements:
        answers = await asyncio.gather(
            *(request(app, "POST", "/", headers=headers | {"ce-id": str(number)}) for number in range(50))
        )
    assert {answer.status for answer in answers} == {202}
    assert statements.commits <= 10


async def test_20_first_events_of_a_new_workflow_at_once_start_20_instances(app: EddaApp) -> None:
    placing()
    many = [app.handle_cloudevent(event({"item": "b"}, str(number)), wait=True) for number in range(20)]
    await asyncio.gather(*many)
    assert len({each["id"] for each in started}) == 20


@pytest.mark.parametrize("data", [{"count": 1}, None, [1]])
async def test_data_that_does_not_fit_is_refused_and_nothing_stored(app: EddaApp, data: Any) -> None:
    @workflow(event_handler=True)
    async def placed(ctx: WorkflowContext, order: Order) -> None:
        started.append({})

    with counted() as statements, pytest.raises((TypeError, ValidationError)):
        await app.handle_cloudevent(event(data))

    assert not statements.containing("INSERT")
    await app.handle_cloudevent(event({"item": "book"}), wait=True)
    assert len(started) == 1


async def test_one_bad_event_of_several_stores_none(app: EddaApp) -> None:
    placing()
    ingest = app._require_worker().ingest
    with counted() as statements, pytest.raises(InvalidEventError) as caught:
        await ingest.accept([event({"item": "book"}), event({}, "2")])
    assert isinstance(caught.value.__cause__, TypeError)
    assert not statements.containing("INSERT")
    assert started == []


async def test_wait_returns_when_the_instance_has_parked(app: EddaApp) -> None:
    @workflow(event_handler=True)
    async def placed(ctx: WorkflowContext) -> None:
        started.append({})
        await sleep(ctx, 3600)

    await app.handle_cloudevent(event({}), wait=True)
    assert len(started) == 1


async def test_wait_raises_no_error_of_the_workflow(app: EddaApp) -> None:
    @workflow(event_handler=True)
    async def placed(ctx: WorkflowContext) -> None:
        started.append({})
        raise OSError("no")

    await app.handle_cloudevent(event({}), wait=True)
    assert len(started) == 1


async def test_without_wait_the_workflow_runs_in_the_background(app: EddaApp) -> None:
    placing()
    await app.handle_cloudevent(event({"item": "book"}))
    await until(lambda: len(started) == 1)


async def test_above_the_limit_events_are_stored_and_started_when_there_is_room(apps: Apps) -> None:
    app = apps.make()
    app.max_concurrent_workflows = 1
    await app.initialize()
    go_on = asyncio.Event()

    @workflow(event_handler=True)
    async def placed(ctx: WorkflowContext, number: int) -> None:
        started.append({"number": number})
        await go_on.wait()

    for number in range(4):
        await app.handle_cloudevent(event({"number": number}, str(number)))
    await until(lambda: bool(started))
    assert len(started) <= 2
    go_on.set()
    await until(lambda: sorted(each["number"] for each in started) == [0, 1, 2, 3])


async def test_trace_context_joins_the_input_of_an_object(app: EddaApp) -> None:
    @workflow(event_handler=True)
    async def placed(ctx: WorkflowContext, item: str, _trace_context: Any = None) -> None:
        started.append({"trace": _trace_context})

    await app.handle_cloudevent(event({"item": "b"}, traceparent="00-1", tracestate="x=1"), wait=True)
    assert started == [{"trace": {"traceparent": "00-1", "tracestate": "x=1"}}]


def test_a_payload_that_is_no_object_becomes_the_one_parameter() -> None:
    @workflow
    async def single(ctx: WorkflowContext, payload: Any, *, option: int = 0) -> None: ...

    @workflow
    async def two(ctx: WorkflowContext, one: Any, other: Any) -> None: ...

    assert arguments_of(single, event([1, 2])) == {"payload": [1, 2]}
    assert arguments_of(single, event("text")) == {"payload": "text"}
    assert arguments_of(single, event()) == {}
    assert arguments_of(two, event([1, 2])) == {}
    assert arguments_of(two, event({"one": 1})) == {"one": 1}


async def test_a_caller_that_goes_away_does_not_keep_what_is_stored_from_running(app: EddaApp) -> None:
    placing()
    caller = asyncio.create_task(app.handle_cloudevent(event({"item": "book"})))
    await pause(0)  # it has begun to store the event
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller

    async def check() -> None:
        assert [each["item"] for each in started] == ["book"]

    await eventually(check)
