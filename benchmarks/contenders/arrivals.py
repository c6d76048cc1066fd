"""What the bodies of waiting workflows saw: when the line behind each wait was reached.

Only the standard library is used, and syntax that every contender's interpreter knows.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass
class Arrivals:
    """One entry per wait, under a key of its own; a line that a replay runs again counts once."""

    latencies: dict[str, float] = field(default_factory=dict)
    """Seconds from the call of the sender, or from the due time, to the line."""
    moments: list[float] = field(default_factory=list)
    """When the lines were reached, in that order, on the clock of ``time.monotonic``."""
    errors: list[str] = field(default_factory=list)
    _expected: dict[str, asyncio.Future[None]] = field(default_factory=dict)

    def arrived(self, key: str, sent: float) -> None:
        """The line behind the wait for a message is reached; ``sent`` is from ``time.monotonic``.

        On Linux and macOS that clock is the same for all processes of a machine.
        """
        self._note(key, time.monotonic() - sent)

    def fired(self, key: str, due: float) -> None:
        """The line behind the wait for a timer is reached; ``due`` is in seconds since the epoch."""
        late = time.time() - due
        if late < 0:
            self.errors.append(f"a timer fired {-late * 1000:.1f} ms early")
        self._note(key, late)

    def _note(self, key: str, latency: float) -> None:
        if key in self.latencies:
            return
        self.latencies[key] = latency
        self.moments.append(time.monotonic())
        if key in self._expected:
            self._expected[key].set_result(None)

    def expect(self, keys: Iterable[str]) -> asyncio.Future[list[None]]:
        """Done when all of these have arrived, those included that are there already."""
        loop = asyncio.get_running_loop()
        missing = {key: loop.create_future() for key in keys if key not in self.latencies}
        self._expected.update(missing)
        return asyncio.gather(*missing.values())

    def forget(self) -> None:
        """Begin anew after warming up."""
        self.latencies.clear()
        self.moments.clear()


ARRIVALS = Arrivals()
