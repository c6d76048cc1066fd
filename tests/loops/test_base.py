"""What all loops share."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from edda import clock
from edda.exceptions import StorageError
from edda.loops.base import Loop
from tests.support.eventually import eventually, until


class Counting(Loop):
    """Counts its rounds; the next one is ``pause`` seconds away."""

    name = "counting"

    def __init__(self, pause: float = 3600, error: BaseException | None = None) -> None:
        super().__init__()
        self.pause = pause
        self.error = error
        self.rounds: list[float] = []

    async def round(self) -> float:
        self.rounds.append(clock.monotonic())
        if self.error is not None and len(self.rounds) == 1:
            raise self.error
        return self.pause


async def test_the_first_round_is_at_once_and_the_next_when_the_round_says() -> None:
    loop = Counting(pause=0.02)
    loop.start()
    await until(lambda: len(loop.rounds) >= 3)
    await loop.stop()
    assert loop.rounds[2] - loop.rounds[0] >= 0.04


async def test_a_wake_up_brings_the_next_round_forward() -> None:
    loop = Counting()
    loop.start()
    await until(lambda: len(loop.rounds) == 1)
    loop.wake()
    await until(lambda: len(loop.rounds) == 2)
    loop.wake_in(0.05)
    await until(lambda: len(loop.rounds) == 3)
    await loop.stop()
    assert loop.rounds[2] - loop.rounds[1] >= 0.05


async def test_a_wake_up_during_a_round_is_not_lost() -> None:
    class Waking(Counting):
        async def round(self) -> float:
            if not self.rounds:
                self.wake()
            return await super().round()

    loop = Waking()
    loop.start()
    await until(lambda: len(loop.rounds) == 2)
    await loop.stop()


@pytest.mark.parametrize("error", [StorageError("away"), ValueError("a bug"), asyncio.CancelledError()])
async def test_a_round_that_fails_is_logged_and_followed_by_another(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    loop = Counting(error=error)
    loop.start()
    await until(lambda: len(loop.rounds) == 2)
    await loop.stop()
    assert loop.rounds[1] - loop.rounds[0] >= 0.1, "not at once: what failed may go on failing"
    assert "counting" in caplog.text


async def test_a_loop_that_is_cancelled_ends() -> None:
    """As all tasks are when the event loop is being ended."""
    loop = Counting()
    loop.start()
    await until(lambda: len(loop.rounds) == 1)
    task = loop._task
    assert task is not None
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    await loop.stop()


async def test_starting_and_stopping_twice_or_without_the_other_is_harmless() -> None:
    loop = Counting()
    await loop.stop()
    loop.start()
    loop.start()
    await until(lambda: len(loop.rounds) == 1)
    await asyncio.gather(loop.stop(), loop.stop())
    await loop.stop()
    assert len(loop.rounds) == 1


async def test_when_stop_returns_the_round_under_way_has_ended() -> None:
    ended = asyncio.Event()
    go_on = asyncio.Event()

    class Slow(Counting):
        async def round(self) -> float:
            self.rounds.append(0)
            await go_on.wait()
            ended.set()
            return 3600

    loop = Slow()
    loop.start()
    await until(lambda: bool(loop.rounds))
    asyncio.get_running_loop().call_later(0.02, go_on.set)
    await loop.stop()
    assert ended.is_set()


async def test_a_loop_runs_again_after_it_was_stopped() -> None:
    loop = Counting()
    for rounds in (1, 2):
        loop.start()
        await eventually(partial(_has_run, loop, rounds))
        await loop.stop()


def _has_run(loop: Counting, rounds: int) -> None:
    assert len(loop.rounds) == rounds
