"""The workflows whose histories are kept. What is here stays as it is: it is the code of the histories.

A new operation gets a workflow of its own, or a version of ``kept_operations`` under a new name.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from edda import (
    EventTimeoutError,
    RetryExhaustedError,
    RetryPolicy,
    TerminalError,
    WorkflowContext,
    activity,
    gather,
    on_failure,
    pivot,
    publish,
    race,
    receive,
    register_compensation,
    send_event,
    send_event_transactional,
    send_to,
    sleep,
    subscribe,
    unsubscribe,
    wait_event,
    workflow,
)
from edda.compensation import clear_compensations, execute_compensations

calls: list[tuple[str, str]] = []
gate = asyncio.Event()
LATER = RetryPolicy(initial_interval=60.0, max_attempts=5)


class Reachable:
    """Whether what is out of reach while histories are written is reached by now."""

    now = True
    broker = "http://broker.test/"


@dataclass
class Item:
    """A value of a type of the application."""

    name: str
    price: Decimal


@activity
async def step(ctx: WorkflowContext, name: str) -> str:
    calls.append((ctx.instance_id, name))
    return name


@activity
async def values(ctx: WorkflowContext, item: Item) -> dict[str, Any]:
    calls.append((ctx.instance_id, "values"))
    return {"item": item, "day": date(2025, 1, 2), "bytes": b"\x00\xff", "keys": {1: (2, 3)}}


@activity
async def in_session(ctx: WorkflowContext) -> int:
    calls.append((ctx.instance_id, "in_session"))
    connection = await ctx.session.connection()
    ctx.heartbeat("half")
    return int((await connection.exec_driver_sql("SELECT 1")).scalar_one())


@activity(retry_policy=RetryPolicy(initial_interval=0.001, max_attempts=2))
async def exhausted(ctx: WorkflowContext) -> None:
    calls.append((ctx.instance_id, "exhausted"))
    raise OSError(5, "out of reach")


@activity
async def refused(ctx: WorkflowContext) -> None:
    calls.append((ctx.instance_id, "refused"))
    raise TerminalError("refused")


@activity(retry_policy=LATER)
async def reached_later(ctx: WorkflowContext, name: str) -> None:
    if not Reachable.now:
        raise OSError(name)
    calls.append((ctx.instance_id, name))


@activity
async def in_flight(ctx: WorkflowContext) -> None:
    calls.append((ctx.instance_id, "in flight"))
    if not Reachable.now:
        await gate.wait()


async def undo(ctx: WorkflowContext, name: str) -> None:
    calls.append((ctx.instance_id, f"undo {name}"))
    if name == "for ever":
        raise TerminalError("no way back")


@activity
@on_failure(undo)
async def do(ctx: WorkflowContext, name: str) -> None:
    calls.append((ctx.instance_id, f"do {name}"))


@activity
@on_failure(reached_later)
async def do_what_is_undone_later(ctx: WorkflowContext, name: str) -> None:
    calls.append((ctx.instance_id, f"do {name}"))


@workflow
async def kept_child(ctx: WorkflowContext, fails: bool) -> str:
    await step(ctx, "child")
    if fails:
        raise LookupError("child")
    return ctx.instance_id


@workflow
async def kept_operations(ctx: WorkflowContext, item: Item) -> dict[str, Any]:
    """Every operation that can be recorded in a body that ends well."""
    seen: dict[str, Any] = {"values": await values(ctx, item), "session": await in_session(ctx)}
    for failing in (exhausted, refused):
        try:
            await failing(ctx)
        except (RetryExhaustedError, TerminalError) as error:
            seen[failing.name] = [type(error).__name__, str(error), type(error.__cause__).__name__]
    seen["drawn"] = [str(await ctx.now()), str(ctx.uuid4()), ctx.random().random()]
    await sleep(ctx, 0.001)
    seen["messages"] = await _messages(ctx)
    seen["together"] = await _together(ctx)
    seen["blocks"] = await _blocks(ctx)
    seen["children"] = await _children(ctx)
    await send_event("kept.sent", "/kept", {"a": 1}, Reachable.broker)
    await register_compensation(ctx, undo, "registered")
    await do(ctx, "first")
    await clear_compensations(ctx)
    await pivot(ctx)
    return seen


async def _messages(ctx: WorkflowContext) -> list[Any]:
    await subscribe(ctx, "kept.news")
    await publish(ctx, "kept.news", {"number": 1})
    seen: list[Any] = [(await receive(ctx, "kept.news")).data]
    try:
        await receive(ctx, "kept.news", timeout_seconds=0.001)
    except TimeoutError as error:
        seen.append(type(error).__name__)
    await unsubscribe(ctx, "kept.news")
    await subscribe(ctx, "kept.direct", "direct")
    await send_to(ctx, ctx.instance_id, b"\x00", "kept.direct")
    seen.append(list((await receive(ctx, "kept.direct")).data))
    try:
        await wait_event(ctx, "kept.never", timeout_seconds=0.001)
    except EventTimeoutError as error:
        seen.append(str(error))
    return seen


async def _together(ctx: WorkflowContext) -> list[Any]:
    both = await gather(step(ctx, "left"), step(ctx, "right"), sleep(ctx, 0.001))
    first = await race(ctx, late=sleep(ctx, 3600), soon=step(ctx, "soon"))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(step(ctx, name, activity_id=name)) for name in ("one", "two")]
    return [*both, first.name, first.value, *(task.result() for task in tasks)]


async def _blocks(ctx: WorkflowContext) -> list[Any]:
    async with ctx.transaction():
        seen = [await step(ctx, "in the block")]
        await send_event_transactional(ctx, "kept.block", "/kept", {"a": 1})
        await publish(ctx, "kept.told", 1)
    with contextlib.suppress(LookupError):
        async with ctx.transaction():
            seen.append(await step(ctx, "undone"))
            raise LookupError
    await send_event_transactional(ctx, "kept.body", "/kept", {"at": datetime(2025, 1, 1, tzinfo=UTC)})
    return seen


async def _children(ctx: WorkflowContext) -> list[Any]:
    seen: list[Any] = [await kept_child.start(fails=False)]
    try:
        await kept_child.start(fails=True)
    except LookupError as error:
        seen.append(str(error))
    return seen


@workflow
async def kept_timer(ctx: WorkflowContext) -> None:
    await step(ctx, "before")
    await sleep(ctx, 60)
    await step(ctx, "after")


@workflow
async def kept_message(ctx: WorkflowContext) -> Any:
    await subscribe(ctx, "kept.message", "competing")
    await step(ctx, "before")
    message = await receive(ctx, "kept.message")
    return [message.data, await step(ctx, "after")]


@workflow
async def kept_event(ctx: WorkflowContext) -> Any:
    await step(ctx, "before")
    event = await wait_event(ctx, "kept.event")
    return [event.data, await step(ctx, "after")]


@workflow
async def kept_attempts(ctx: WorkflowContext) -> None:
    await step(ctx, "before")
    await reached_later(ctx, "after")


@workflow
async def kept_running(ctx: WorkflowContext) -> None:
    await step(ctx, "before")
    await in_flight(ctx)
    await step(ctx, "after")


@workflow
async def kept_failed(ctx: WorkflowContext) -> None:
    await do(ctx, "chair")
    await do(ctx, "for ever")
    raise LookupError("failed", 7)


@workflow
async def kept_compensating(ctx: WorkflowContext) -> None:
    await do(ctx, "chair")
    await do_what_is_undone_later(ctx, "table")
    raise LookupError("failed")


@workflow
async def kept_undone(ctx: WorkflowContext) -> str:
    await do(ctx, "chair")
    await execute_compensations(ctx)
    return await step(ctx, "after")


@workflow
async def kept_loop(ctx: WorkflowContext, number: int) -> int:
    await step(ctx, f"number {number}")
    if number == 1:
        await ctx.recur(number=2)
    await sleep(ctx, 60)
    await step(ctx, "after")
    return number


@workflow
async def kept_cancelled(ctx: WorkflowContext) -> None:
    await do(ctx, "chair")
    await sleep(ctx, 3600)
