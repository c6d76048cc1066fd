"""A scenario of branches that wait for something that is not durable; see :mod:`tests.proof.scenarios`."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from contextvars import ContextVar
from typing import Any

from edda import WorkflowContext, activity, gather, race, workflow
from edda.app import EddaApp
from edda.testing.mortal_worker import note
from tests.support.eventually import pause
from tests.support.final_state import State
from tests.support.playing import begin, ended, scenario

MOMENT = 0.005

# -- steps that a replay holds back, and that fit: T26 ---------------------------------------------


@activity
async def tell(ctx: WorkflowContext, what: str) -> str:
    note(f"tell {what}")
    return what


@activity
async def without_end(ctx: WorkflowContext) -> None:
    await asyncio.Event().wait()


body_is_over: ContextVar[asyncio.Event] = ContextVar("body_is_over")


@activity
async def until_the_end(ctx: WorkflowContext) -> None:
    """Also if the body ends because its lease is lost: an activity in flight is waited for."""
    await body_is_over.get().wait()


async def say(ctx: WorkflowContext, what: str) -> str:
    """A step whose id does not depend on when its branch comes to it."""
    return await tell(ctx, what, activity_id=what)


async def timed_out(ctx: WorkflowContext) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(MOMENT):
            await without_end(ctx, activity_id="without end")
    await say(ctx, "after a timeout")


async def waited_for(ctx: WorkflowContext) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(without_end(ctx, activity_id="without end either"), MOMENT)
    await say(ctx, "after waiting for it")


async def signalled(ctx: WorkflowContext) -> None:
    event = asyncio.Event()

    async def first() -> None:
        await asyncio.to_thread(threading.Event().wait, MOMENT)
        await say(ctx, "after a thread")
        event.set()

    async def second() -> None:
        await event.wait()
        await say(ctx, "after an event")

    async with asyncio.TaskGroup() as group:
        group.create_task(second())
        group.create_task(first())


async def begun_by_a_timer(ctx: WorkflowContext) -> None:
    begun: asyncio.Future[asyncio.Task[str]] = asyncio.get_running_loop().create_future()

    def begin_now() -> None:
        begun.set_result(asyncio.create_task(say(ctx, "of a timer")))

    asyncio.get_running_loop().call_later(MOMENT, begin_now)
    await (await begun)


async def one_after_the_other(ctx: WorkflowContext) -> None:
    await pause(MOMENT)
    await asyncio.shield(say(ctx, "after a moment"))
    await say(ctx, "and then")


@workflow
async def crash_held(ctx: WorkflowContext) -> Any:
    """All the time a step is under way that no replay finds recorded; the others follow one another."""
    over = asyncio.Event()
    body_is_over.set(over)
    beside = asyncio.create_task(until_the_end(ctx, activity_id="beside"))
    try:
        return await follow_one_another(ctx)
    finally:
        beside.cancel()
        over.set()


async def follow_one_another(ctx: WorkflowContext) -> str | None:
    for shape in (timed_out, waited_for, signalled, begun_by_a_timer, one_after_the_other):
        await gather(pause(0), shape(ctx), limit=2)
    task = asyncio.create_task(say(ctx, "awaited later"))
    await pause(MOMENT)
    await task
    first = await race(ctx, soon=one_after_another_moment(ctx), late=without_end(ctx, activity_id="late"))
    return first.name


async def one_after_another_moment(ctx: WorkflowContext) -> None:
    await asyncio.gather(pause(MOMENT), asyncio.gather(say(ctx, "in a race"), pause(MOMENT)))
    await say(ctx, "at its end")


def forget_the_order(state: State) -> None:
    """Which branch was recorded first."""
    for instance in state["instances"]:
        instance["history"].sort(key=lambda row: row["activity_id"])


@scenario(forget_the_order)
async def branches_that_take_their_time(app: EddaApp) -> None:
    await ended(app, await begin(crash_held, app))
