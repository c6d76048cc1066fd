"""An event recorded with work exists if, and only if, that work is committed."""

from __future__ import annotations

import asyncio
import logging
import uuid
from typing import Any

import pytest
from pydantic import BaseModel
from sqlalchemy import text

from edda import (
    HooksBase,
    RetryPolicy,
    TerminalError,
    WorkflowContext,
    activity,
    send_event_transactional,
    sleep,
    workflow,
)
from edda.app import EddaApp
from edda.exceptions import PayloadTooLargeError
from tests.support.apps import Apps, always_replay, instance, reached, result_of, steps_of
from tests.support.outbox import lease
from tests.support.rows import create_tables, put, rows
from tests.support.statements import counted

QUICK = RetryPolicy(initial_interval=0.01, backoff_coefficient=1.0, max_attempts=3)
TYPE = "order.created"


class Told(HooksBase):
    """Notes what the hook is told, and what is stored by then."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, Any]] = []

    async def on_event_sent(self, event_type: str, event_source: str, event_data: Any) -> None:
        self.events.append((event_type, event_source, event_data))


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
async def app(apps: Apps, told: Told) -> EddaApp:
    app = await apps.start(default_retry_policy=QUICK, hooks=told)
    await create_tables(app)
    return app


async def pending(app: EddaApp) -> list[Any]:
    """The data of the events in the outbox."""
    return [row["event_data"] for row in await app.storage.get_pending_outbox_events(100)]


@activity
async def announce(ctx: WorkflowContext, *data: Any) -> list[str]:
    return [await send_event_transactional(ctx, TYPE, "/shop", each) for each in data]


async def test_an_activity_records_its_events_with_itself(app: EddaApp, told: Told) -> None:
    @workflow
    async def order(ctx: WorkflowContext) -> list[str]:
        ids: list[str] = await announce(ctx, {"n": 1}, [2], b"\x00", None)
        return ids

    instance_id = await order.start()
    events = await app.storage.get_pending_outbox_events()
    assert [row["event_id"] for row in events] == await result_of(app, instance_id)
    assert [row["event_data"] for row in events] == [{"n": 1}, [2], b"\x00", None]
    assert {str(uuid.UUID(str(row["event_id"]))) for row in events} == {row["event_id"] for row in events}
    assert await steps_of(app, instance_id) == [("announce:1", "ActivityCompleted")]
    assert told.events == [(TYPE, "/shop", data) for data in ({"n": 1}, [2], b"\x00", None)]


async def test_an_activity_that_only_records_events_costs_one_shared_commit(app: EddaApp) -> None:
    @workflow
    async def order(ctx: WorkflowContext) -> None:
        await announce(ctx, 1, 2, 3)

    await order.start()
    with counted() as statements:
        await order.start()
    assert statements.commits <= 3
    assert len(statements.containing("INSERT INTO workflow_outbox")) == 1


async def test_models_leave_as_plain_json(app: EddaApp) -> None:
    class Item(BaseModel):
        name: str
        price: float = 1.5

    @activity
    async def tell(ctx: WorkflowContext) -> None:
        await send_event_transactional(ctx, TYPE, "/shop", {"items": [Item(name="pen")]})

    @workflow
    async def order(ctx: WorkflowContext) -> None:
        await tell(ctx)

    await order.start()
    assert await pending(app) == [{"items": [{"name": "pen", "price": 1.5}]}]


@pytest.mark.parametrize("touches", [True, False])
async def test_events_of_a_failed_attempt_never_existed(app: EddaApp, told: Told, touches: bool) -> None:
    attempts: list[str] = []

    @activity
    async def reserve(ctx: WorkflowContext) -> str:
        if touches:
            await put(ctx, "row")
        event_id = await send_event_transactional(ctx, TYPE, "/shop", len(attempts))
        attempts.append(event_id)
        if len(attempts) < 3:
            raise OSError
        return event_id

    @workflow
    async def order(ctx: WorkflowContext) -> str:
        return await reserve(ctx)

    await order.start()
    assert await pending(app) == [2]
    assert told.events == [(TYPE, "/shop", 2)]
    assert len(set(attempts)) == 1, "each attempt announces the same event"
    assert await rows(app) == (["row"] if touches else [])


@pytest.mark.parametrize("touches", [True, False])
async def test_events_of_a_rolled_back_savepoint_never_existed(
    app: EddaApp, told: Told, touches: bool
) -> None:
    @activity
    async def reserve(ctx: WorkflowContext) -> None:
        if touches:
            await put(ctx, "row")
        await send_event_transactional(ctx, TYPE, "/shop", "before")
        with pytest.raises(KeyError):
            async with ctx.transaction():
                await send_event_transactional(ctx, TYPE, "/shop", "inside")
                raise KeyError
        async with ctx.transaction():
            await send_event_transactional(ctx, TYPE, "/shop", "after")

    @workflow
    async def order(ctx: WorkflowContext) -> None:
        await reserve(ctx)

    await order.start()
    assert await pending(app) == ["before", "after"]
    assert [data for _, _, data in told.events] == ["before", "after"]


async def test_events_of_an_activity_that_gives_up_never_existed(app: EddaApp, told: Told) -> None:
    @activity
    async def reserve(ctx: WorkflowContext) -> None:
        await announce(ctx, "inner")
        await send_event_transactional(ctx, TYPE, "/shop", "outer")
        raise TerminalError

    @workflow
    async def order(ctx: WorkflowContext) -> None:
        await reserve(ctx)

    with pytest.raises(TerminalError):
        await order.start()
    assert await pending(app) == []
    assert told.events == []


async def test_an_activity_inside_another_shares_its_fate_and_its_order(app: EddaApp) -> None:
    @activity
    async def reserve(ctx: WorkflowContext) -> None:
        await send_event_transactional(ctx, TYPE, "/shop", 1)
        await announce(ctx, 2)
        await send_event_transactional(ctx, TYPE, "/shop", 3)

    @workflow
    async def order(ctx: WorkflowContext) -> None:
        await reserve(ctx)

    await order.start()
    assert await pending(app) == [1, 2, 3]


@pytest.mark.parametrize("replays", [True, False])
async def test_in_the_body_it_is_a_step_of_its_own_and_warns(
    app: EddaApp, told: Told, caplog: pytest.LogCaptureFixture, replays: bool
) -> None:
    if replays:
        always_replay(app)

    @workflow
    async def order(ctx: WorkflowContext) -> list[str]:
        first = await send_event_transactional(ctx, TYPE, "/shop", 1)
        await sleep(ctx, 0.05)
        return [first, await send_event_transactional(ctx, TYPE, "/shop", 2)]

    with caplog.at_level(logging.WARNING):
        instance_id = await order.start()
        result = await result_of(app, instance_id)
    events = await app.storage.get_pending_outbox_events()
    assert [row["event_id"] for row in events] == result
    assert [row["event_data"] for row in events] == [1, 2]
    warnings = [text for text in caplog.messages if "called outside of a transaction" in text]
    assert len(warnings) == 2
    steps = {row["activity_id"]: row for row in await app.storage.get_history(instance_id)}
    recorded = steps["send_event_transactional_order.created:2"]
    assert recorded["event_type"] == "OutboxEventAdded"
    assert recorded["event_data"] == {
        "event_id": result[1],
        "event_type": TYPE,
        "event_source": "/shop",
    }
    assert len(told.events) == 2


@pytest.mark.parametrize("touches", [True, False])
async def test_in_a_transaction_of_the_body_it_commits_with_the_block(
    app: EddaApp, told: Told, caplog: pytest.LogCaptureFixture, touches: bool
) -> None:
    always_replay(app)
    seen: list[list[Any]] = []

    @workflow
    async def order(ctx: WorkflowContext) -> None:
        async with ctx.transaction():
            if touches:
                await ctx.session.execute(text("SELECT 1"))
            await send_event_transactional(ctx, TYPE, "/shop", 1)
            if not touches:  # SQLite has one writer, and it may be this transaction
                seen.append(await pending(app))
            await announce(ctx, 2)
        await sleep(ctx, 0.05)

    instance_id = await order.start()
    await reached(app, instance_id)
    assert await pending(app) == [1, 2]
    assert all(events == [] or len(events) == 2 for events in seen)
    assert "outside of a transaction" not in caplog.text
    assert [data for _, _, data in told.events] == [1, 2]
    assert await steps_of(app, instance_id) == [
        ("transaction:1/send_event_transactional_order.created:1", "OutboxEventAdded"),
        ("transaction:1/announce:1", "ActivityCompleted"),
        ("transaction:1", "TransactionCommitted"),
        ("sleep:1", "TimerExpired"),
    ]


async def test_a_rolled_back_block_of_the_body_sends_nothing(app: EddaApp, told: Told) -> None:
    always_replay(app)

    @workflow
    async def order(ctx: WorkflowContext) -> None:
        with pytest.raises(KeyError):
            async with ctx.transaction():
                await send_event_transactional(ctx, TYPE, "/shop", "undone")
                await announce(ctx, "undone too")
                raise KeyError
        await sleep(ctx, 0.05)

    instance_id = await order.start()
    await reached(app, instance_id)
    assert await pending(app) == []
    assert told.events == []


async def test_branches_of_a_body_record_each_their_own_event(app: EddaApp) -> None:
    @workflow
    async def order(ctx: WorkflowContext) -> list[str]:
        return await asyncio.gather(
            *(send_event_transactional(ctx, TYPE, "/shop", number) for number in range(5))
        )

    ids = await result_of(app, await order.start())
    events = {row["event_id"]: row["event_data"] for row in await app.storage.get_pending_outbox_events()}
    assert [events[each] for each in ids] == [0, 1, 2, 3, 4]


async def test_a_task_inside_an_activity_records_its_event_once_over_all_attempts(app: EddaApp) -> None:
    """Such a task shares no transaction with the activity, so its event is on its own."""
    attempts: list[list[str]] = []

    @activity
    async def reserve(ctx: WorkflowContext) -> None:
        attempts.append(
            list(await asyncio.gather(*(send_event_transactional(ctx, TYPE, "/shop", n) for n in range(2))))
        )
        if len(attempts) == 1:
            raise OSError

    @workflow
    async def order(ctx: WorkflowContext) -> None:
        await reserve(ctx)

    await order.start()
    assert sorted(await pending(app)) == [0, 1]
    assert attempts[0] == attempts[1]


async def test_the_subject_and_extensions_are_kept_for_the_relayer(app: EddaApp) -> None:
    @activity
    async def tell(ctx: WorkflowContext) -> None:
        extensions = {"tenant": "a", "priority": 3, "urgent": True, "absent": None}
        await send_event_transactional(
            ctx, TYPE, "/shop", "x", "text/plain", subject="o-1", extensions=extensions
        )

    @workflow
    async def order(ctx: WorkflowContext) -> None:
        await tell(ctx)

    await order.start()
    (event,) = await lease(app.storage)
    assert (event.subject, event.content_type) == ("o-1", "text/plain")
    assert event.extensions == '{"tenant":"a","priority":3,"urgent":true}'


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"event_type": ""}, "type"),
        ({"event_source": None}, "source"),
        ({"content_type": ""}, "datacontenttype"),
        ({"content_type": None}, "content_type"),
        ({"subject": ""}, "subject"),
        ({"event_data": object()}, "event_data"),
        ({"extensions": {"Tenant": "a"}}, "Tenant"),
        ({"extensions": {"subject": "a"}}, "subject"),
        ({"extensions": {"list": []}}, "list"),
    ],
)
@pytest.mark.parametrize("empty_database_url", ["sqlite"], indirect=True)
async def test_what_cannot_be_an_event_is_refused_at_the_call(
    app: EddaApp, arguments: dict[str, Any], message: str
) -> None:
    usual: dict[str, Any] = {"event_type": TYPE, "event_source": "/shop", "event_data": 1}

    @workflow
    async def order(ctx: WorkflowContext) -> None:
        with pytest.raises((TypeError, ValueError), match=message):
            await send_event_transactional(ctx, **(usual | arguments))
        await send_event_transactional(ctx, **usual)

    instance_id = await order.start()
    assert (await instance(app, instance_id))["status"] == "completed"
    assert await pending(app) == [1]


@pytest.mark.parametrize("empty_database_url", ["sqlite"], indirect=True)
async def test_data_over_the_limit_is_refused_before_anything_is_stored(apps: Apps) -> None:
    app = apps.make(default_retry_policy=QUICK)
    app.max_payload_bytes = 1000
    await app.initialize()

    @workflow
    async def order(ctx: WorkflowContext) -> None:
        with pytest.raises(PayloadTooLargeError):
            await send_event_transactional(ctx, TYPE, "/shop", "x" * 2000)

    await order.start()
    assert await pending(app) == []
