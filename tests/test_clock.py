"""The one place that reads time."""

from __future__ import annotations

from datetime import UTC

from edda import clock


def test_now_is_aware_and_in_utc() -> None:
    assert clock.now().tzinfo is UTC


def test_the_monotonic_clock_does_not_go_back() -> None:
    readings = [clock.monotonic() for _ in range(1000)]
    assert readings == sorted(readings)
