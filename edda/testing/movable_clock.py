"""A clock that a test moves: time passes as ever, and jumps when it is told to."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

from edda.clock import Clock


class MovableClock(Clock):
    """The clock of the machine, ahead of it by all its jumps; at first it shows ``start``."""

    def __init__(self, start: datetime | None = None) -> None:
        if start is not None and start.tzinfo is None:
            raise ValueError(f"a time needs a zone: {start!r}")
        self._ahead = 0.0
        self._shift = timedelta() if start is None else start.astimezone(UTC) - super().now()
        self._waiting: Counter[asyncio.Event] = Counter()
        self.someone_waits = asyncio.Event()
        """Set whenever somebody begins to wait for a time."""

    def copy(self) -> MovableClock:
        """A clock that shows the same time, for another event loop."""
        other = MovableClock()
        other._ahead, other._shift = self._ahead, self._shift
        return other

    def now(self) -> datetime:
        return super().now() + self._shift + timedelta(seconds=self._ahead)

    def monotonic(self) -> float:
        return super().monotonic() + self._ahead

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        self._waiting[event] += 1
        self.someone_waits.set()
        try:
            await super().wait(event, seconds)
        finally:
            self._waiting[event] -= 1
            if not self._waiting[event]:
                del self._waiting[event]

    def jump(self, seconds: float) -> None:
        """Be later by so many seconds; all who wait for a time look again."""
        self._ahead += seconds
        for event in self._waiting:
            event.set()
