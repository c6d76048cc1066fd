"""The only place that reads time and makes waiting possible.

Leases, timers and deadlines are decided by the clock of the database. This clock
serves what never leaves the process: time stamps for people, and monotonic spans.
SQLite has no clock of its own and takes this one. Tests may put another in its place.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime


class Clock:
    """The clock of the machine."""

    def now(self) -> datetime:
        """The current time, aware and in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds on a clock that never goes backwards."""
        return time.monotonic()

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        """Return when the event is set, or after so many seconds."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), seconds)


_clock = Clock()


def now() -> datetime:
    """The current time, aware and in UTC."""
    return _clock.now()


def monotonic() -> float:
    """Seconds on a clock that never goes backwards, for spans within this process."""
    return _clock.monotonic()


async def wait(event: asyncio.Event, seconds: float) -> None:
    """Return when the event is set, or after so many seconds; perhaps earlier, so callers look again."""
    await _clock.wait(event, seconds)


@contextlib.contextmanager
def replaced_by(clock: Clock) -> Iterator[None]:
    """Have this clock tell the time in the whole process; ``RuntimeError`` if another one does already."""
    global _clock  # noqa: PLW0603 - the threads of databases read the time, and no context reaches them
    if type(_clock) is not Clock:
        raise RuntimeError("the clock of this process is replaced already: one test environment at a time")
    machine, _clock = _clock, clock
    try:
        yield
    finally:
        _clock = machine
