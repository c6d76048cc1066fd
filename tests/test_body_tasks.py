"""Which tasks belong to a run."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any

from edda.body_tasks import BodyTasks


async def in_body(body: Callable[[BodyTasks], Coroutine[Any, Any, Any]]) -> Any:
    """What the function returns as the body of a run."""
    tasks = BodyTasks()
    context = contextvars.copy_context()
    context.run(tasks.enter)
    task = asyncio.get_running_loop().create_task(body(tasks), context=context)
    tasks.begin(task)
    return await task


async def test_the_tasks_of_others_do_not_belong_to_it() -> None:
    async def body(tasks: BodyTasks) -> bool:
        return tasks.alive() == [asyncio.current_task()] == [tasks.body]

    stranger = asyncio.create_task(asyncio.Event().wait())
    assert await in_body(body) is True
    stranger.cancel()


async def test_its_branches_do_until_they_have_ended() -> None:
    async def body(tasks: BodyTasks) -> list[int]:
        gates = [asyncio.Event(), asyncio.Event()]
        branches = [asyncio.create_task(gate.wait()) for gate in gates]
        seen = [len(tasks.alive())]
        for gate, branch in zip(gates, branches, strict=True):
            gate.set()
            await branch
            seen.append(len(tasks.alive()))
        return seen

    assert await in_body(body) == [3, 2, 1]


async def test_a_branch_of_a_branch_does() -> None:
    async def body(tasks: BodyTasks) -> bool:
        async def branch() -> asyncio.Task[Any]:
            return asyncio.create_task(asyncio.Event().wait())

        inner = await asyncio.create_task(branch())
        belongs = inner in tasks.alive()
        inner.cancel()
        return belongs

    assert await in_body(body) is True


async def test_a_branch_is_not_the_body() -> None:
    async def body(tasks: BodyTasks) -> tuple[bool, bool]:
        async def branch() -> bool:
            return tasks.is_body()

        return tasks.is_body(), await asyncio.create_task(branch())

    assert await in_body(body) == (True, False)


async def test_a_context_says_whether_it_is_one_of_the_run() -> None:
    async def body(tasks: BodyTasks) -> tuple[bool, bool]:
        return tasks.owns(contextvars.copy_context()), tasks.owns(contextvars.Context())

    assert await in_body(body) == (True, False)


async def test_without_a_body_there_is_none() -> None:
    tasks = BodyTasks()
    assert not tasks.is_body()
    assert tasks.body is None
    assert tasks.alive() == []
