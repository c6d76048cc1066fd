"""The scenarios that are run with a crash at every write; their headings name the traps they are laid for.

A new feature adds one: a workflow, and a function under ``@scenario()`` that acts as a
client does and waits for the end. It is played again from its beginning by whoever takes
over, so it starts instances with :func:`~tests.support.playing.begin` and sends events with
:func:`~tests.support.playing.post`.
"""

from __future__ import annotations

import contextlib
from typing import Any

from edda import (
    EventTimeoutError,
    RetryPolicy,
    TerminalError,
    WorkflowContext,
    activity,
    gather,
    on_failure,
    publish,
    race,
    receive,
    register_compensation,
    send_event_transactional,
    sleep,
    subscribe,
    wait_event,
    workflow,
)
from edda.app import EddaApp
from edda.cloudevent import Event
from edda.outbox.answers import Answer, Published
from edda.storage.writes import RunParked
from edda.testing.mortal_worker import _worker, note
from edda.types import EventType
from tests.proof.scenarios_of_branches import branches_that_take_their_time as branches_that_take_their_time
from tests.support.apps import engine_of
from tests.support.eventually import eventually
from tests.support.final_state import State
from tests.support.playing import PATIENCE, all_ended, begin, ended, post, scenario, waits_at
from tests.support.playing import SCENARIOS as SCENARIOS
from tests.support.rows import add, notes

# -- a saga that fails: T03, T07, T10, T11 -------------------------------------------------


async def release(ctx: WorkflowContext, item: str) -> None:
    note(f"release {item}")
    await add(ctx.session, f"released {item}")


async def refund(ctx: WorkflowContext) -> None:
    note("refund")
    raise TerminalError("no refund")


@activity
@on_failure(release)
async def reserve(ctx: WorkflowContext, item: str) -> None:
    note(f"reserve {item}")
    await add(ctx.session, f"reserved {item}")


@activity
async def charge(ctx: WorkflowContext) -> None:
    note("charge")
    await register_compensation(ctx, refund)


@activity
async def ship(ctx: WorkflowContext) -> None:
    note("ship")
    raise TerminalError("no truck")


@workflow(event_handler=True)
async def crash_saga(ctx: WorkflowContext) -> None:
    await reserve(ctx, "chair")
    await charge(ctx)
    await sleep(ctx, 0.001)
    await reserve(ctx, "table")
    await ship(ctx)


@scenario()
async def saga_with_failure(app: EddaApp) -> None:
    await post(app, "crash_saga")
    await all_ended(app)


# -- an event, and one that does not come: T01, T02, T50 -------------------------------------


@activity
async def ask(ctx: WorkflowContext, what: str) -> str:
    note(f"ask {what}")
    return what


@workflow
async def crash_wait(ctx: WorkflowContext) -> list[Any]:
    paid = await wait_event(ctx, "crash.paid", timeout_seconds=3600)
    await ask(ctx, "paid")
    try:
        await wait_event(ctx, "crash.shipped", timeout_seconds=0.005)
    except EventTimeoutError:
        return [paid.data, await ask(ctx, "where it is")]
    return []


@scenario()
async def event_with_timeout(app: EddaApp) -> None:
    waiting = await begin(crash_wait, app)
    await waits_at(app, waiting, "receive_crash.paid:1")
    await post(app, "crash.paid", amount=3)
    await ended(app, waiting)


# -- a message between the last look and the parking: T37 ----------------------------------------


@workflow
async def crash_parking(ctx: WorkflowContext) -> Any:
    return (await wait_event(ctx, "crash.just_then")).data


@scenario()
async def message_while_parking(app: EddaApp) -> None:
    submit = app.storage.submit

    async def submit_late(write: Any, *, within: float | None = None) -> Any:
        if isinstance(write, RunParked):
            await post(app, "crash.just_then", number=1)
        return await submit(write, within=within)

    app.storage.submit = submit_late  # type: ignore[method-assign]
    await ended(app, await begin(crash_parking, app))


# -- consumers that compete, and a publisher in a workflow: T44, T46, T51 -----------------------


@workflow
async def crash_consumer(ctx: WorkflowContext) -> list[int]:
    await subscribe(ctx, "crash.jobs", "competing")
    taken = [(await receive(ctx, "crash.jobs")).data for _ in range(2)]
    await ask(ctx, f"to rest {ctx.instance_id}")
    return taken


@workflow
async def crash_producer(ctx: WorkflowContext) -> None:
    await publish(ctx, "crash.jobs", 1)
    await produce(ctx)
    async with ctx.transaction():
        await publish(ctx, "crash.jobs", 3)
        await publish(ctx, "crash.jobs", 4)


@activity
async def produce(ctx: WorkflowContext) -> None:
    note("produce")
    await publish(ctx, "crash.jobs", 2)


def forget_who_took_what(state: State) -> None:
    """Who takes which message is left to chance; that each is taken once is not."""
    consumers = [row for row in state["instances"] if row["workflow_name"] == crash_consumer.name]
    state["taken"] = sorted(number for row in consumers for number in row.pop("output_data")["result"])
    for row in consumers:
        row["history"] = [step["activity_id"] for step in row["history"]]


@scenario(forget_who_took_what)
async def competing_consumers(app: EddaApp) -> None:
    consumers = [await begin(crash_consumer, app, number) for number in (1, 2)]
    producer = await begin(crash_producer, app)
    await ended(app, *consumers, producer)


# -- a loop of recurs that works through a backlog: T08, T38, T52 -------------------------------


@workflow
async def crash_loop(ctx: WorkflowContext, seen: list[Any]) -> list[Any]:
    await subscribe(ctx, "crash.news")
    seen = [*seen, (await receive(ctx, "crash.news")).data]
    await ask(ctx, f"seen {seen[-1]}")
    if len(seen) < 3:
        await ctx.recur(seen=seen)
    return seen


@workflow
async def crash_news(ctx: WorkflowContext, to: str) -> None:
    for number in (1, 2):
        await publish(ctx, "crash.news", number)
    await publish(ctx, "crash.news", 3, target_instance_id=to)


@scenario()
async def loop_of_recurs(app: EddaApp) -> None:
    loop = await begin(crash_loop, app, seen=[])
    await waits_at(app, loop, "receive_crash.news:1")
    await ended(app, await begin(crash_news, app, to=loop))
    await all_ended(app)


# -- cancelled while it waits: T04, T06, T07 ---------------------------------------------------


@workflow
async def crash_cancelled(ctx: WorkflowContext) -> None:
    await subscribe(ctx, "crash.late")
    await reserve(ctx, "chair")
    await register_compensation(ctx, release, "sofa")
    await receive(ctx, "crash.late", timeout_seconds=3600)
    await ask(ctx, "too much")


@scenario()
async def cancelled_while_waiting(app: EddaApp) -> None:
    waiting = await begin(crash_cancelled, app)
    await waits_at(app, waiting, "receive_crash.late:1")
    await engine_of(app).cancel_workflow(waiting, "support")
    await ended(app, waiting)
    await post(app, "crash.late")


# -- cancelled while it runs, which the body hides: T05, T12 ------------------------------------


async def give_back(ctx: WorkflowContext, item: str) -> None:
    await add(ctx.session, f"gave back {item}")


@activity
@on_failure(give_back)
async def take(ctx: WorkflowContext, item: str) -> None:
    await engine_of(_worker.get().app).cancel_workflow(ctx.instance_id, "customer")
    await add(ctx.session, f"took {item}")


@workflow
async def crash_hidden(ctx: WorkflowContext) -> str:
    try:
        await take(ctx, "chair")
        await ask(ctx, "too much")
    except Exception:  # noqa: BLE001 - what many do
        return "as if nothing had happened"
    return "not reached"


def forget_whether_it_came_in_time(state: State) -> None:
    """Recorded and undone, or neither: the worker may die before what it does is recorded."""
    [row] = state["instances"]
    cancelled = [step for step in row["history"] if step["event_type"] == EventType.WORKFLOW_CANCELLED]
    others = {step["activity_id"] for step in row["history"] if step not in cancelled}
    rows = {order["name"] for order in state["app_orders"]}
    assert (others, rows) in (
        ({"take:1", "compensation_1"}, {"took chair", "gave back chair"}),
        (set(), set()),
    )
    row["history"] = cancelled
    state["app_orders"] = state["app_notes"] = []


@scenario(forget_whether_it_came_in_time)
async def cancelled_while_running(app: EddaApp) -> None:
    await ended(app, await begin(crash_hidden, app))


# -- events for others, with rows of the user: T22, T32, T63 -----------------------------------


class Broker:
    """Takes every event, and says which."""

    async def open(self) -> None: ...

    async def publish(self, event: Event) -> Answer:
        note(f"event {event['id']} {event['type']}")
        return Published()

    async def close(self) -> None: ...


@activity
async def order(ctx: WorkflowContext, item: str) -> None:
    note(f"order {item}")
    await add(ctx.session, item)
    await send_event_transactional(ctx, "ordered", "/shop", {"item": item})


@workflow
async def crash_shop(ctx: WorkflowContext) -> None:
    await order(ctx, "chair")
    await send_event_transactional(ctx, "thanked", "/shop", {})
    await order(ctx, "table")


@scenario(outbox_enabled=True, broker_url="http://broker.test/", outbox_options={"publisher": Broker()})
async def outbox(app: EddaApp) -> None:
    await begin(crash_shop, app)
    await all_ended(app)

    async def all_sent() -> None:
        assert len(await app.storage.get_outbox_events("published")) == 3

    await eventually(all_sent, within=PATIENCE)


# -- transactions in transactions: T09, T32, T33, T40 --------------------------------------------


@activity
async def nested(ctx: WorkflowContext) -> str:
    note("nested")
    await add(ctx.session, "outer")
    async with ctx.transaction():
        await add(ctx.session, "inner")
        await publish(ctx, "crash.inner", 1)
    with contextlib.suppress(ValueError):
        async with ctx.transaction():
            await add(ctx.session, "undone")
            await publish(ctx, "crash.undone", 1)
            raise ValueError("not this")
    return "nested"


@workflow
async def crash_nested(ctx: WorkflowContext) -> None:
    await nested(ctx)
    async with ctx.transaction():
        await reserve(ctx, "chair")
        await ctx.session.execute(notes.insert().values(text="of the block"))
        await ask(ctx, "in the block")
    with contextlib.suppress(ValueError):
        async with ctx.transaction():
            await reserve(ctx, "undone too")
            await ask(ctx, "in vain")
            raise ValueError("nor this")
    await ask(ctx, "after both")


@scenario()
async def nested_transactions(app: EddaApp) -> None:
    await ended(app, await begin(crash_nested, app))


# -- side by side: T13, T30 ----------------------------------------------------------------------


@workflow
async def crash_together(ctx: WorkflowContext) -> list[Any]:
    both = await gather(ask(ctx, "left"), ask(ctx, "right"), sleep(ctx, 0.002))
    first = await race(ctx, late=sleep(ctx, 3600), soon=ask(ctx, "soon"))
    later = await race(ctx, timer=sleep(ctx, 0.002), message=wait_event(ctx, "crash.never"))
    return [*both, first.name, later.name, str(ctx.uuid4()), await ctx.now() is None]


@scenario()
async def gather_and_race(app: EddaApp) -> None:
    await ended(app, await begin(crash_together, app))


# -- attempts, handlers of events and children: T22, T66, T87, T88 --------------------------------


@activity(retry_policy=RetryPolicy(initial_interval=0.001, max_attempts=3))
async def flaky(ctx: WorkflowContext) -> str:
    note("flaky")
    ctx.heartbeat((ctx.heartbeat_details or 0) + 1)
    if ctx.heartbeat_details < 2:
        raise OSError("out of reach")
    return "reached"


@workflow
async def crash_child(ctx: WorkflowContext) -> str:
    return await flaky(ctx)


@workflow(event_handler=True)
async def crash_parent(ctx: WorkflowContext) -> str:
    return await crash_child.start()


@scenario()
async def parent_and_child(app: EddaApp) -> None:
    await post(app, "crash_parent")
    await all_ended(app)
