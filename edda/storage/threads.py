"""Sync code with a session: it runs in a thread, its statements on the event loop."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, TypeVar

from greenlet import getcurrent, greenlet

T = TypeVar("T")


class _StatementGreenlet(greenlet):
    # By this mark SQLAlchemy knows that it may hand an awaitable to the parent.
    __sqlalchemy_greenlet_provider__ = True


async def run_in_thread(executor: Executor, function: Callable[[], T]) -> T:
    """Call a sync function in a thread in which the ``sync_session`` of an async session works.

    Each statement hops to the event loop and back, so that it goes over the same
    connection and transaction as those of async code.
    """
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(executor, _drive, function, loop)


def _drive(function: Callable[[], T], loop: asyncio.AbstractEventLoop) -> T:
    statements = _StatementGreenlet(function, getcurrent())
    outcome: Any = statements.switch()
    while not statements.dead:
        try:
            answer = asyncio.run_coroutine_threadsafe(_awaited(outcome), loop).result()
        except BaseException:  # noqa: BLE001 - whatever it is, it belongs to the statement that waits for it
            outcome = statements.throw(*sys.exc_info())
        else:
            outcome = statements.switch(answer)
    return outcome  # type: ignore[no-any-return]


async def _awaited(awaitable: Any) -> Any:
    return await awaitable
