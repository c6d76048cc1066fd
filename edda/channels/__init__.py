"""Waiting: durable timers."""

from __future__ import annotations

from edda.channels.timers import sleep, sleep_until, wait_timer, wait_until

__all__ = ["sleep", "sleep_until", "wait_timer", "wait_until"]
