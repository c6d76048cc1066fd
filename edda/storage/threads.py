"""Sync code with a session: it runs in a thread, its statements on the event loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import sys
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, Generic, TypeVar

from greenlet import getcurrent, greenlet

from edda.clock import monotonic

T = TypeVar("T")

# How long a statement that was cancelled may take to leave the session in order.
_ENDING_SECONDS = 1.0
_IDLE_SECONDS = 0.02


class AbandonedThreadError(RuntimeError):
    """The attempt that this sync code belonged to is over: it was cancelled or timed out."""


class _StatementGreenlet(greenlet):
    # By this mark SQLAlchemy knows that it may hand an awaitable to the parent.
    __sqlalchemy_greenlet_provider__ = True


async def run_in_thread(executor: Executor, function: Callable[[], T]) -> T:
    """Call a sync function in a thread in which the ``sync_session`` of an async session works.

    Each statement hops to the event loop and back, so that it goes over the same
    connection and transaction as those of async code. A thread cannot be interrupted:
    when the caller is cancelled, the statement under way is cancelled, and each further one
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
        self._ended = False

    def drive(self) -> T:
        try:
            return self._drive()
        finally:
            self._ended = True

    def _drive(self) -> T:
        # Drivers make their connections in the calling thread, for "the" event loop.
        asyncio.set_event_loop(self.loop)
        code = _StatementGreenlet(self._function, getcurrent())
        outcome: Any = code.switch()
        while not code.dead:
            try:
                answer = asyncio.run_coroutine_threadsafe(self._execute(outcome), self.loop).result()
            except concurrent.futures.CancelledError:
                # As in async code, so that SQLAlchemy gives the connection up.
                outcome = code.throw(asyncio.CancelledError())
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
        """Take no more statements, once the one under way has left the session."""
        try:
            if self._statement is not None and not self._statement.done():
                self._statement.cancel()
                await self._until_out_of_the_session()
        finally:
            self._abandoned = True

    async def _until_out_of_the_session(self) -> None:
        # SQLAlchemy gives the connection back by further calls from the thread. When none is
        # under way for a moment it is done, and the session may be closed from here.
        deadline = monotonic() + _ENDING_SECONDS
        idle_since = monotonic()
        while not self._ended and monotonic() < deadline and monotonic() - idle_since < _IDLE_SECONDS:
            await asyncio.sleep(_IDLE_SECONDS / 10)
            if self._statement is not None and not self._statement.done():
                idle_since = monotonic()
