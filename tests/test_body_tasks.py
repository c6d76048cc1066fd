"""Whether the body's own task is the only one of its run."""

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


async def test_a_body_without_branches_is_alone_whatever_else_runs() -> None:
    async def body(tasks: BodyTasks) -> bool:
        return tasks.is_alone()

    stranger = asyncio.create_task(asyncio.Event().wait())
    assert await in_body(body) is True
    stranger.cancel()


async def test_it_is_not_alone_until_its_last_branch_has_ended() -> None:
    async def body(tasks: BodyTasks) -> list[bool]:
        gates = [asyncio.Event(), asyncio.Event()]
        branches = [asyncio.create_task(gate.wait()) for gate in gates]
        seen = [tasks.is_alone()]
        for gate, branch in zip(gates, branches, strict=True):
            gate.set()
            await branch
            seen.append(tasks.is_alone())
        return seen

    assert await in_body(body) == [False, False, True]


async def test_a_branch_of_a_branch_counts() -> None:
    async def body(tasks: BodyTasks) -> bool:
        async def branch() -> asyncio.Task[Any]:
            return asyncio.create_task(asyncio.Event().wait())

        inner = await asyncio.create_task(branch())
        is_alone = tasks.is_alone()
        inner.cancel()
        return is_alone

    assert await in_body(body) is False


async def test_a_branch_is_never_alone() -> None:
    async def body(tasks: BodyTasks) -> tuple[bool, bool]:
        async def branch() -> tuple[bool, bool]:
            return tasks.is_body(), tasks.is_alone()

        return await asyncio.create_task(branch())

    assert await in_body(body) == (False, False)


async def test_without_a_body_nobody_is_alone() -> None:
    assert not BodyTasks().is_alone()
