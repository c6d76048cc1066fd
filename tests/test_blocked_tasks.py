"""Whether tasks wait for each other and for what is held, or something else may still happen."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import edda
from edda.blocked_tasks import has_timers, wait_for_each_other, waiting_for
from edda.body_tasks import BodyTasks


async def looked_at(body: Callable[[], Awaitable[Any]]) -> bool | None:
    """What is found of a body that has come as far as it can; None: a task of it is about to go on."""
    tasks = BodyTasks()
    context = contextvars.copy_context()
    context.run(tasks.enter)

    async def run() -> None:
        await body()

    turns.clear()
    task = asyncio.get_running_loop().create_task(run(), context=context)
    tasks.begin(task)
    for _ in range(20):
        await asyncio.sleep(0)
    waiting = waiting_for(tasks.alive())
    try:
        return None if waiting is None else wait_for_each_other(waiting, set(turns), tasks.owns)
    finally:
        for left in [*tasks.alive(), *pending]:
            left.cancel()
        pending.clear()
        await asyncio.wait({task})


pending: list[asyncio.Future[Any]] = []
"""What is left to be cancelled."""

turns: list[asyncio.Future[Any]] = []
"""What is held back."""


async def held() -> None:
    turn = asyncio.get_running_loop().create_future()
    turns.append(turn)
    await turn


async def gathered() -> None:
    await asyncio.gather(held(), asyncio.gather(held(), held()))


async def gathered_by_edda() -> None:
    await edda.gather(held(), held(), held(), limit=2)


async def grouped() -> None:
    async with asyncio.TaskGroup() as outer:
        outer.create_task(held())
        async with asyncio.TaskGroup() as inner:
            inner.create_task(held())


async def awaited() -> None:
    await asyncio.create_task(held())


async def shielded() -> None:
    await asyncio.shield(held())


async def waited_for() -> None:
    await asyncio.wait({asyncio.create_task(held()), asyncio.create_task(held())})


@pytest.mark.parametrize("body", [held, gathered, gathered_by_edda, grouped, awaited, shielded, waited_for])
async def test_tasks_that_wait_for_what_is_held_cannot_get_on(body: Any) -> None:
    assert await looked_at(body) is True


async def event() -> None:
    await asyncio.gather(held(), asyncio.Event().wait())


async def a_future() -> None:
    await asyncio.gather(held(), asyncio.get_running_loop().create_future())


async def a_queue() -> None:
    queue: asyncio.Queue[Any] = asyncio.Queue()
    task = asyncio.create_task(held())
    task.add_done_callback(queue.put_nowait)
    await queue.get()


async def a_thread() -> None:
    gate = asyncio.get_running_loop().create_future()
    pending.append(gate)
    await asyncio.gather(
        held(), asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_wait(gate), gate.get_loop()))
    )


async def _wait(gate: asyncio.Future[None]) -> None:
    await gate


async def a_listener() -> None:
    """Nobody waits for the future, but something begins when it is there."""
    future = asyncio.get_running_loop().create_future()
    future.add_done_callback(lambda _: asyncio.create_task(held()))
    pending.append(future)
    await held()


async def a_task_of_others() -> None:
    task = asyncio.get_running_loop().create_task(asyncio.Event().wait(), context=contextvars.Context())
    pending.append(task)
    await asyncio.gather(held(), task)


@pytest.mark.parametrize("body", [event, a_future, a_queue, a_thread, a_listener, a_task_of_others])
async def test_tasks_that_wait_for_something_else_may_get_on(body: Any) -> None:
    assert await looked_at(body) is False


async def test_a_task_that_is_about_to_go_on_says_so() -> None:
    async def spins() -> None:
        while True:
            await asyncio.sleep(0)

    assert await looked_at(spins) is None


# -- timers ----------------------------------------------------------------------------------


async def in_run(body: Callable[[BodyTasks], Awaitable[Any]]) -> Any:
    tasks = BodyTasks()
    context = contextvars.copy_context()
    context.run(tasks.enter)

    async def run() -> Any:
        return await body(tasks)

    return await asyncio.get_running_loop().create_task(run(), context=context)


def found(tasks: BodyTasks, but_timeouts_of: asyncio.Task[Any] | None = None) -> bool | None:
    return has_timers(asyncio.get_running_loop(), tasks.owns, but_timeouts_of=but_timeouts_of)


async def timers_come_and_go(tasks: BodyTasks) -> list[bool | None]:
    loop = asyncio.get_running_loop()
    seen = [found(tasks)]
    timer = loop.call_later(3600, print)
    seen.append(found(tasks))
    timer.cancel()
    seen.append(found(tasks))
    fired = asyncio.Event()
    timer = loop.call_later(0, fired.set)
    await fired.wait()
    seen.append(found(tasks))
    other = loop.call_later(3600, print, context=contextvars.Context())
    seen.append(found(tasks))
    other.cancel()
    return seen


async def timeouts_of_a_task(tasks: BodyTasks) -> list[bool | None]:
    me = asyncio.current_task()
    async with asyncio.timeout(3600):
        return [found(tasks), found(tasks, me), found(tasks, asyncio.create_task(held()))]


async def test_timers_of_the_run_count_while_they_are_pending() -> None:
    assert await in_run(timers_come_and_go) == [False, True, False, False, False]


async def test_timeouts_of_one_task_can_be_left_out() -> None:
    assert await in_run(timeouts_of_a_task) == [True, False, True]


def test_the_timers_of_uvloop_are_seen() -> None:
    uvloop = pytest.importorskip("uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(in_run(timers_come_and_go)) == [False, True, False, False, False]
        assert runner.run(in_run(timeouts_of_a_task)) == [True, False, True]


async def test_a_loop_of_an_unknown_kind_says_nothing_of_its_timers() -> None:
    class Unknown:
        pass

    assert has_timers(Unknown(), BodyTasks().owns, but_timeouts_of=None) is None  # type: ignore[arg-type]
