"""The only place that reads time and makes waiting possible.

Leases, timers and deadlines are decided by the clock of the database. This clock
serves what never leaves the process: time stamps for people, and monotonic spans.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now() -> datetime:
    """The current time, aware and in UTC."""
    return datetime.now(UTC)


def monotonic() -> float:
    """Seconds on a clock that never goes backwards, for spans within this process."""
    return time.monotonic()
