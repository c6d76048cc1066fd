from __future__ import annotations

import time

import pytest

from tests.support.eventually import eventually, pause, until


class Countdown:
    """Fails a number of times, then returns how often it was called."""

    def __init__(self, failures: int, error: type[Exception] = AssertionError) -> None:
        self.failures = failures
        self.error = error
        self.calls = 0

    def check(self) -> int:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error(f"failure {self.calls}")
        return self.calls

    async def check_async(self) -> int:
        return self.check()


async def test_a_check_that_holds_is_called_once() -> None:
    assert await eventually(Countdown(0).check) == 1


async def test_a_failing_check_is_repeated_until_it_holds() -> None:
    assert await eventually(Countdown(3).check) == 4


async def test_an_async_check_is_awaited_each_time() -> None:
    assert await eventually(Countdown(3).check_async) == 4


async def test_the_last_failure_is_raised_when_time_is_up() -> None:
    countdown = Countdown(1_000_000)
    with pytest.raises(AssertionError) as caught:
        await eventually(countdown.check, within=0.05)
    assert str(caught.value) == f"failure {countdown.calls}"


async def test_other_errors_are_not_repeated() -> None:
    countdown = Countdown(1, ValueError)
    with pytest.raises(ValueError, match="failure 1"):
        await eventually(countdown.check)
    assert countdown.calls == 1


async def test_the_errors_to_repeat_can_be_chosen() -> None:
    assert await eventually(Countdown(2, OSError).check, retry_on=OSError) == 3


async def test_a_pause_lets_the_time_pass() -> None:
    before = time.monotonic()
    await pause(0.02)
    assert time.monotonic() - before >= 0.019


async def test_a_condition_is_asked_until_it_holds() -> None:
    answers = [True, False, False]
    await until(answers.pop)
    assert answers == []
