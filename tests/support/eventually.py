"""Wait for what happens elsewhere: the only place in the tests that sleeps."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar, overload

T = TypeVar("T")
Retried: TypeAlias = type[Exception] | tuple[type[Exception], ...]

PATIENCE = 60.0
"""Seconds to wait for what is going to happen. Only a failure takes as long, and no machine is that slow."""
FIRST_PAUSE = 0.002
LONGEST_PAUSE = 0.1


@overload
async def eventually(
    check: Callable[[], Awaitable[T]], *, within: float = ..., retry_on: Retried = ...
) -> T: ...


@overload
async def eventually(check: Callable[[], T], *, within: float = ..., retry_on: Retried = ...) -> T: ...


async def eventually(
    check: Callable[[], Any],
    *,
    within: float = PATIENCE,
    retry_on: Retried = AssertionError,
) -> Any:
    """Call ``check`` until it no longer raises ``retry_on``, and return what it returned.

    After ``within`` seconds its last error is raised. Pauses grow, so that what
    happens soon is seen soon and what takes long is not asked too often.
    """
    deadline = time.monotonic() + within
    interval = FIRST_PAUSE
    while True:
        try:
            result = check()
            return await result if inspect.isawaitable(result) else result
        except retry_on:
            if time.monotonic() + interval > deadline:
                raise
        await asyncio.sleep(interval)
        interval = min(interval * 1.5, LONGEST_PAUSE)


async def until(condition: Callable[[], bool]) -> None:
    """Return once the condition holds."""

    def check() -> None:
        assert condition()

    await eventually(check)


async def pause(seconds: float) -> None:
    """Let time pass where time itself is the matter: latency, the length of a lease."""
    await asyncio.sleep(seconds)
