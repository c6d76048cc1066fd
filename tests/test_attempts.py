"""What is counted as an attempt, and what is not."""

from __future__ import annotations

from typing import Any

import pytest

from edda.attempts import Attempts
from edda.retry import GiveUp, RetryAfter, RetryPolicy

POLICY = RetryPolicy(initial_interval=1.0, max_attempts=3)


@pytest.fixture
def attempts() -> Attempts:
    run: Any = object()  # counting asks nothing of it
    return Attempts(run, "pay:1", durable=True)


def failed(attempts: Attempts) -> RetryAfter | GiveUp:
    attempts.begin()
    return attempts.failed(OSError("no"), POLICY)


def test_a_first_attempt_that_succeeds_leaves_no_count(attempts: Attempts) -> None:
    attempts.begin()
    attempts.succeeded()
    assert attempts.metadata.total_attempts == 0


def test_a_success_after_a_failure_is_counted(attempts: Attempts) -> None:
    assert isinstance(failed(attempts), RetryAfter)
    attempts.begin()
    attempts.succeeded()
    assert attempts.metadata.total_attempts == 2


def test_a_success_that_the_database_did_not_take_is_not_counted(attempts: Attempts) -> None:
    failed(attempts)
    for _ in range(3):
        attempts.begin()
        attempts.succeeded()
        attempts.not_recorded()
        attempts.not_recorded()
    assert attempts.metadata.total_attempts == 1


def test_a_success_that_fails_at_its_commit_is_one_attempt(attempts: Attempts) -> None:
    failed(attempts)
    attempts.begin()
    attempts.succeeded()
    attempts.failed(OSError("refused"), POLICY)
    assert attempts.metadata.total_attempts == 2
    assert [error["attempt"] for error in attempts.metadata.errors] == [1, 2]


def test_the_policy_ends_the_attempts(attempts: Attempts) -> None:
    assert [type(failed(attempts)) for _ in range(3)] == [RetryAfter, RetryAfter, GiveUp]
