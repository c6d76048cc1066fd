"""Context variables that have a value in a block."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

import pytest

from edda.variables import Setting

_place: ContextVar[str] = ContextVar("place", default="outside")


async def test_a_setting_holds_in_its_block_and_in_tasks_made_there() -> None:
    async def look() -> str:
        await asyncio.sleep(0)
        return _place.get()

    with Setting(_place, "block"):
        made = asyncio.create_task(look())
        with Setting(_place, "inner block"):
            assert _place.get() == "inner block"
        assert _place.get() == "block"
    assert (await made, _place.get()) == ("block", "outside")


def test_a_setting_ends_with_a_block_that_raises() -> None:
    with pytest.raises(ValueError, match="oh"), Setting(_place, "block"):
        raise ValueError("oh")
    assert _place.get() == "outside"
