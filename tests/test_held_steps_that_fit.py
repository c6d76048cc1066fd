"""Bodies that fit their history: a step is held back until all that is recorded is reached, and no longer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import edda
from edda import WorkflowContext, race, sleep, workflow
from edda.app import EddaApp
from edda.exceptions import LockNotAcquiredError
from tests.support.apps import always_replay, instance, steps_of
from tests.support.branching import gated
from tests.support.eventually import eventually, pause
from tests.support.noting import calls, note

Body = Callable[[WorkflowContext], Awaitable[Any]]

# Longer than a replay looks for what is recorded before it takes nobody for on the way there.
MOMENT = 0.1


async def timer(ctx: WorkflowContext) -> None:
    """What is not recorded while others are."""
    await sleep(ctx, 3600)


async def after_a_moment(ctx: WorkflowContext) -> None:
    await pause(MOMENT)
    await note(ctx, "late")


async def gathered(ctx: WorkflowContext) -> None:
    await asyncio.gather(after_a_moment(ctx), timer(ctx))


async def gathered_in_gathers(ctx: WorkflowContext) -> None:
    await asyncio.gather(asyncio.gather(after_a_moment(ctx)), asyncio.gather(timer(ctx)))


async def gathered_by_edda(ctx: WorkflowContext) -> None:
    await edda.gather(after_a_moment(ctx), timer(ctx), limit=2)


async def grouped(ctx: WorkflowContext) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(after_a_moment(ctx))
        group.create_task(timer(ctx))


async def awaited_later(ctx: WorkflowContext) -> None:
    task = asyncio.create_task(after_a_moment(ctx))
    await timer(ctx)
    await task


async def shielded(ctx: WorkflowContext) -> None:
    await asyncio.gather(asyncio.shield(after_a_moment(ctx)), timer(ctx))


async def raced(ctx: WorkflowContext) -> None:
    async def both() -> None:
        await asyncio.gather(after_a_moment(ctx), timer(ctx))

    await race(ctx, both(), sleep(ctx, 3600))


async def in_a_thread(ctx: WorkflowContext) -> None:
    async def threaded() -> None:
        await asyncio.to_thread(threading.Event().wait, MOMENT)
        await note(ctx, "late")

    await asyncio.gather(threaded(), timer(ctx))


async def by_an_event(ctx: WorkflowContext) -> None:
    event = asyncio.Event()

    async def waiting() -> None:
        await event.wait()
        await note(ctx, "late")

    async def setting() -> None:
        await pause(MOMENT)
        event.set()

    await asyncio.gather(waiting(), setting(), timer(ctx))


async def by_a_queue(ctx: WorkflowContext) -> None:
    queue: asyncio.Queue[str] = asyncio.Queue()

    async def consumer() -> None:
        await note(ctx, await queue.get())

    async def producer() -> None:
        await asyncio.to_thread(threading.Event().wait, MOMENT)
        queue.put_nowait("late")

    await asyncio.gather(consumer(), producer(), timer(ctx))


async def by_a_timer_of_the_loop(ctx: WorkflowContext) -> None:
    tasks: list[asyncio.Task[Any]] = []
    asyncio.get_running_loop().call_later(
        MOMENT, lambda: tasks.append(asyncio.create_task(note(ctx, "late")))
    )
    await timer(ctx)
    await tasks[0]


async def by_a_callback(ctx: WorkflowContext) -> None:
    tasks: list[asyncio.Task[Any]] = []
    work = asyncio.get_running_loop().run_in_executor(None, threading.Event().wait, MOMENT)
    work.add_done_callback(lambda _: tasks.append(asyncio.create_task(note(ctx, "late"))))
    await timer(ctx)
    await tasks[0]


async def one_at_a_time(ctx: WorkflowContext) -> None:
    lock = asyncio.Semaphore(1)

    async def first() -> None:
        async with lock:
            await pause(MOMENT)

    async def second() -> None:
        async with lock:
            await note(ctx, "late")

    await asyncio.gather(first(), second(), timer(ctx))


DELAYED = [
    gathered,
    gathered_in_gathers,
    gathered_by_edda,
    grouped,
    awaited_later,
    shielded,
    raced,
    in_a_thread,
    by_an_event,
    by_a_queue,
    by_a_timer_of_the_loop,
    by_a_callback,
    one_at_a_time,
]


async def timed_out(ctx: WorkflowContext) -> None:
    try:
        async with asyncio.timeout(MOMENT):
            await gated(ctx, "slow")
    except TimeoutError:
        await note(ctx, "late")


async def timed_out_by_wait_for(ctx: WorkflowContext) -> None:
    try:
        await asyncio.wait_for(gated(ctx, "slow"), MOMENT)
    except TimeoutError:
        await note(ctx, "late")


async def waited_for_a_moment(ctx: WorkflowContext) -> None:
    task = asyncio.create_task(gated(ctx, "slow"))
    _, late = await asyncio.wait({task}, timeout=MOMENT)
    for one in late:
        one.cancel()
    await note(ctx, "late")


async def cancelled_by_a_thread(ctx: WorkflowContext) -> None:
    task = asyncio.create_task(gated(ctx, "slow"))

    async def canceller() -> None:
        await asyncio.to_thread(threading.Event().wait, MOMENT)
        task.cancel()

    await asyncio.gather(task, canceller(), return_exceptions=True)
    await note(ctx, "late")


CUT_SHORT = [timed_out, timed_out_by_wait_for, waited_for_a_moment, cancelled_by_a_thread]


async def is_replayed(app: EddaApp, body: Body) -> None:
    """Once all is recorded but the end of the timer, it is replayed and comes as far again."""

    @workflow
    async def fitting_flow(ctx: WorkflowContext) -> None:
        await body(ctx)

    instance_id = await fitting_flow.start()

    async def recorded() -> list[tuple[str, str]]:
        steps = await steps_of(app, instance_id)
        assert steps
        return steps

    steps = await eventually(recorded)
    always_replay(app)
    for _ in range(2):
        await eventually(lambda: fitting_flow.resume(instance_id), retry_on=LockNotAcquiredError)
    assert await steps_of(app, instance_id) == steps
    row = await instance(app, instance_id)
    assert (row["status"], row["last_error"]) == ("waiting_for_timer", None)


@pytest.mark.parametrize("body", DELAYED)
async def test_a_branch_may_take_its_time_before_it_reaches_what_is_recorded(
    app: EddaApp, body: Body
) -> None:
    await is_replayed(app, body)
    assert calls == ["late"]


@pytest.mark.parametrize("cut_short", CUT_SHORT)
async def test_a_step_that_was_cut_short_is_cut_short_again_and_not_performed(
    app: EddaApp, cut_short: Body
) -> None:
    async def body(ctx: WorkflowContext) -> None:
        await asyncio.gather(cut_short(ctx), timer(ctx))

    await is_replayed(app, body)
    assert calls == ["slow", "late"]


async def test_so_is_one_of_the_body_itself(app: EddaApp) -> None:
    async def body(ctx: WorkflowContext) -> None:
        await timed_out(ctx)
        await timer(ctx)

    await is_replayed(app, body)
    assert calls == ["slow", "late"]


async def test_a_call_that_is_wrong_fails_at_once_although_others_have_not_reached_theirs(
    app: EddaApp,
) -> None:
    failed = asyncio.Event()

    async def body(ctx: WorkflowContext) -> None:
        async def wrong() -> None:
            call: Any = note
            try:
                await call(ctx, "too", "many")
            except TypeError:
                failed.set()

        async def waiting() -> None:
            await failed.wait()
            await note(ctx, "late")

        failed.clear()
        await asyncio.gather(wrong(), waiting(), timer(ctx))

    await is_replayed(app, body)
    assert calls == ["late"]


async def test_a_branch_of_a_race_does_not_wait_for_what_another_one_has_recorded(app: EddaApp) -> None:
    is_replay = False

    async def slower_next_time(ctx: WorkflowContext) -> None:
        nonlocal is_replay
        if is_replay:
            await asyncio.Event().wait()
        is_replay = True
        await note(ctx, "late")
        await sleep(ctx, 3600)

    async def body(ctx: WorkflowContext) -> None:
        await race(ctx, slower_next_time(ctx), timer(ctx))

    await is_replayed(app, body)
    assert calls == ["late"]


async def test_a_step_that_somebody_unseen_has_cancelled_is_performed_again(app: EddaApp) -> None:
    """Nobody can say that it will be cancelled once more; its rows say that it was."""

    async def body(ctx: WorkflowContext) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        threading.Timer(1, loop.call_soon_threadsafe, [task.cancel]).start()
        try:
            await gated(ctx, "slow")
        except asyncio.CancelledError:
            task.uncancel()
        await note(ctx, "late")
        await timer(ctx)

    await is_replayed(app, body)
    assert calls == ["slow", "late", "slow", "slow"]
