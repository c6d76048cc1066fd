"""The gate before the first effect of a step."""

from __future__ import annotations

import asyncio

import pytest

from edda.effects import behind, may_begin


class Shut:
    """A gate that lets nobody through."""

    async def passed(self) -> None:
        raise OSError("shut")


async def test_without_a_gate_effects_wait_for_nothing() -> None:
    with pytest.raises(StopIteration):
        may_begin().send(None)


async def test_behind_a_gate_they_wait_for_it() -> None:
    with behind(Shut()), pytest.raises(OSError, match="shut"):
        await may_begin()


async def test_the_gate_is_one_of_the_step_alone_and_of_the_tasks_that_it_makes() -> None:
    with behind(Shut()):
        inside = asyncio.create_task(may_begin())
    await asyncio.create_task(may_begin())
    with pytest.raises(OSError, match="shut"):
        await inside
