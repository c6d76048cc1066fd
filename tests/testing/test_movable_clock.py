"""A clock that jumps."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from edda import clock
from edda.testing.movable_clock import MovableClock
from tests.support.eventually import eventually


def test_it_begins_where_it_is_told_to() -> None:
    start = datetime(2030, 1, 1, tzinfo=UTC)
    assert start <= MovableClock(start).now() < start + timedelta(hours=1)


def test_a_start_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        MovableClock(datetime(2030, 1, 1))  # noqa: DTZ001


def test_a_jump_moves_both_its_times() -> None:
    moved = MovableClock()
    now, monotonic = moved.now(), moved.monotonic()
    moved.jump(86_400)
    assert moved.now() - now >= timedelta(days=1)
    assert moved.monotonic() - monotonic >= 86_400


def test_a_copy_shows_the_same_time() -> None:
    moved = MovableClock(datetime(2030, 1, 1, tzinfo=UTC))
    moved.jump(86_400)
    copy = moved.copy()
    assert moved.now() <= copy.now()
    assert copy.monotonic() >= moved.monotonic() - 3600


async def test_who_waits_looks_again_after_a_jump() -> None:
    moved, event = MovableClock(), asyncio.Event()
    waiting = asyncio.create_task(moved.wait(event, 3600))
    await eventually(moved.someone_waits.wait)
    moved.jump(3600)
    await waiting


async def test_the_clock_of_the_process_is_replaced_for_a_block() -> None:
    moved = MovableClock(datetime(2030, 1, 1, tzinfo=UTC))
    with clock.replaced_by(moved):
        assert clock.now().year == 2030
        with pytest.raises(RuntimeError, match="one test environment at a time"), clock.replaced_by(moved):
            pass
        assert clock.now().year == 2030
    assert clock.now().year != 2030
