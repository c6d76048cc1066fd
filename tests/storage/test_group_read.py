"""Reads that many ask for at once are one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from edda.exceptions import StorageError
from edda.storage.group_read import MAX_KEYS, GroupRead


class Source:
    """Gives a key in capitals; holds the reads up until it is told to go on."""

    def __init__(self) -> None:
        self.reads: list[list[str]] = []
        self.may_go_on = asyncio.Event()
        self.error: Exception | None = None
        self.group = GroupRead(self.read)

    async def read(self, keys: Sequence[str]) -> dict[str, str]:
        self.reads.append(list(keys))
        await self.may_go_on.wait()
        if self.error is not None:
            raise self.error
        return {key: key.upper() for key in keys}

    def ask(self, *keys: str) -> list[asyncio.Task[str]]:
        return [asyncio.create_task(self.group.get(key)) for key in keys]

    async def until_read(self, count: int) -> None:
        while len(self.reads) < count:
            await asyncio.sleep(0)


async def test_those_who_ask_at_once_share_a_read_and_later_ones_the_next() -> None:
    source = Source()
    first = source.ask("a", "b")
    await source.until_read(1)
    # What was read already may be old for who asks now.
    later = source.ask("a", "c", "a")
    await asyncio.sleep(0)
    source.may_go_on.set()
    assert await asyncio.gather(*first, *later) == ["A", "B", "A", "C", "A"]
    assert source.reads == [["a", "b"], ["a", "c"]]


async def test_one_who_asks_alone_waits_for_nobody() -> None:
    source = Source()
    source.may_go_on.set()
    assert [await source.group.get(key) for key in "aba"] == ["A", "B", "A"]
    assert source.reads == [["a"], ["b"], ["a"]]


async def test_a_read_is_bounded() -> None:
    source = Source()
    source.may_go_on.set()
    await asyncio.gather(*source.ask(*(str(number) for number in range(2 * MAX_KEYS + 1))))
    assert [len(keys) for keys in source.reads] == [MAX_KEYS, MAX_KEYS, 1]


async def test_a_failure_is_that_of_those_who_share_the_read_each_with_an_error_of_its_own() -> None:
    source = Source()
    source.error = StorageError("away")
    failed = source.ask("a", "b")
    await source.until_read(1)
    source.may_go_on.set()
    errors = await asyncio.gather(*failed, return_exceptions=True)
    assert [str(error) for error in errors] == ["away", "away"]
    assert errors[0] is not errors[1]
    source.error = None
    assert await source.group.get("c") == "C"


async def test_who_goes_away_takes_nobody_along() -> None:
    source = Source()
    gone, stays, late = source.ask("a", "b", "c")
    late.cancel()
    await source.until_read(1)
    gone.cancel()
    await asyncio.sleep(0)
    source.may_go_on.set()
    assert await stays == "B"
    assert gone.cancelled()
    with pytest.raises(asyncio.CancelledError):
        await late
