"""Group reads: while one query is under way, what is asked for meanwhile is read together by the next.

So many instances that are woken at once cost a few queries over one connection, and one
that is woken alone waits for nobody.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, TypeVar

from edda.exceptions import StorageError

K = TypeVar("K")
V = TypeVar("V")

# Bounds what one read holds in memory, and how long the event loop is busy with its rows.
MAX_KEYS = 100


class GroupRead(Generic[K, V]):
    """One kind of read: ``read`` finds what belongs to many keys, each caller gets its own."""

    def __init__(self, read: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]]) -> None:
        self._read = read
        self._asked: deque[tuple[K, asyncio.Future[V]]] = deque()
        self._reader: asyncio.Task[None] | None = None

    async def get(self, key: K) -> V:
        """What belongs to this key, as it is at some time after the call."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[V] = loop.create_future()
        self._asked.append((key, answer))
        if self._reader is None:
            self._reader = loop.create_task(self._work(), name="edda-group-read")
        return await answer

    async def _work(self) -> None:
        try:
            while self._asked:
                count = min(len(self._asked), MAX_KEYS)
                await self._answer([self._asked.popleft() for _ in range(count)])
        finally:
            self._reader = None
            while self._asked:  # only where the event loop is being ended
                self._asked.popleft()[1].cancel()

    async def _answer(self, asked: Sequence[tuple[K, asyncio.Future[V]]]) -> None:
        waiting = [(key, answer) for key, answer in asked if not answer.done()]
        if not waiting:
            return
        try:
            found = await self._read(list(dict.fromkeys(key for key, _ in waiting)))
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to those who asked
            for _, answer in waiting:
                if not answer.done():
                    answer.set_exception(_own(error))
        else:
            for key, answer in waiting:
                if not answer.done():
                    answer.set_result(found[key])
        finally:
            for _, answer in waiting:
                answer.cancel()  # as above


def _own(error: Exception) -> Exception:
    """The error for one of many, with a traceback of its own."""
    if not isinstance(error, StorageError):
        return error
    own = type(error)(*error.args)
    own.__cause__ = error.__cause__
    return own
