"""Sync code with a session: it runs in a thread, its statements on the event loop."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, Generic, TypeVar

from greenlet import getcurrent, greenlet

T = TypeVar("T")


class AbandonedThreadError(RuntimeError):
    """The attempt that this sync code belonged to is over: it was cancelled or timed out."""


class _StatementGreenlet(greenlet):
    # By this mark SQLAlchemy knows that it may hand an awaitable to the parent.
    __sqlalchemy_greenlet_provider__ = True


async def run_in_thread(executor: Executor, function: Callable[[], T]) -> T:
    """Call a sync function in a thread in which the ``sync_session`` of an async session works.

    Each statement hops to the event loop and back, so that it goes over the same
    connection and transaction as those of async code. A thread cannot be interrupted:
    when the caller is cancelled, the statement under way is ended, and each further one
    raises :class:`AbandonedThreadError`.
    """
    bridge = _Bridge(asyncio.get_running_loop(), function)
    try:
        return await bridge.loop.run_in_executor(executor, bridge.drive)
    except asyncio.CancelledError:
        await bridge.abandon()
        raise


class _Bridge(Generic[T]):
    def __init__(self, loop: asyncio.AbstractEventLoop, function: Callable[[], T]) -> None:
        self.loop = loop
        self._function = function
        self._statement: asyncio.Task[Any] | None = None
        self._abandoned = False

    def drive(self) -> T:
        # Drivers make their connections in the calling thread, for "the" event loop.
        asyncio.set_event_loop(self.loop)
        code = _StatementGreenlet(self._function, getcurrent())
        outcome: Any = code.switch()
        while not code.dead:
            try:
                answer = asyncio.run_coroutine_threadsafe(self._execute(outcome), self.loop).result()
            except BaseException:  # noqa: BLE001 - it belongs to the statement that waits for it
                outcome = code.throw(*sys.exc_info())
            else:
                outcome = code.switch(answer)
        return outcome  # type: ignore[no-any-return]

    async def _execute(self, statement: Any) -> Any:
        if self._abandoned:
            if asyncio.iscoroutine(statement):
                statement.close()
            raise AbandonedThreadError(
                "the attempt of this activity is over; its session takes no statements"
            )
        self._statement = asyncio.current_task()
        return await statement

    async def abandon(self) -> None:
        self._abandoned = True
        if self._statement is not None and not self._statement.done():
            self._statement.cancel()
            await asyncio.wait({self._statement})
