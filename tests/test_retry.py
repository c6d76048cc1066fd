"""When an activity is tried again."""

from __future__ import annotations

import dataclasses
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edda.codec.json import dumps, loads
from edda.exceptions import TerminalError
from edda.retry import (
    AGGRESSIVE_RETRY,
    CONSERVATIVE_RETRY,
    DEFAULT_RETRY_POLICY,
    INFINITE_RETRY,
    GiveUp,
    RetryAfter,
    RetryMetadata,
    RetryPolicy,
    decide,
)


@pytest.mark.parametrize(
    ("policy", "values"),
    [
        (DEFAULT_RETRY_POLICY, (1.0, 2.0, 60.0, 5, 300.0)),
        (AGGRESSIVE_RETRY, (0.1, 1.5, 10.0, 10, 60.0)),
        (CONSERVATIVE_RETRY, (5.0, 2.0, 300.0, 3, 900.0)),
        (INFINITE_RETRY, (1.0, 2.0, 60.0, None, None)),
    ],
    ids=["default", "aggressive", "conservative", "infinite"],
)
def test_presets(policy: RetryPolicy, values: tuple[Any, ...]) -> None:
    assert dataclasses.astuple(policy) == (*values, (Exception,), ())


def test_the_default_policy_is_the_policy_without_arguments() -> None:
    assert RetryPolicy() == DEFAULT_RETRY_POLICY


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"initial_interval": -1}, "initial_interval must be 0 or more, not -1"),
        ({"initial_interval": math.nan}, "initial_interval must be 0 or more, not nan"),
        ({"backoff_coefficient": 0}, "backoff_coefficient must be greater than 0, not 0"),
        ({"backoff_coefficient": math.nan}, "backoff_coefficient must be greater than 0, not nan"),
        ({"max_interval": -0.1}, "max_interval must be 0 or more, not -0.1"),
        ({"max_attempts": 0}, "max_attempts must be a whole number from 1, or None, not 0"),
        ({"max_attempts": 2.5}, "max_attempts must be a whole number from 1, or None, not 2.5"),
        ({"max_attempts": True}, "max_attempts must be a whole number from 1, or None, not True"),
        ({"max_duration": -1}, "max_duration must be 0 or more, not -1"),
        ({"retryable_error_types": (1,)}, "retryable_error_types must hold classes of exceptions, not 1"),
        ({"non_retryable_error_types": (int,)}, "non_retryable_error_types must hold classes of exceptions"),
    ],
    ids=str,
)
def test_values_that_make_no_sense_are_refused_at_once(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as raised:
        RetryPolicy(**fields)
    assert message in str(raised.value)


def test_error_types_may_be_one_class_or_a_list() -> None:
    policy = RetryPolicy(retryable_error_types=OSError, non_retryable_error_types=[KeyError])  # type: ignore[arg-type]

    assert (policy.retryable_error_types, policy.non_retryable_error_types) == ((OSError,), (KeyError,))


@pytest.mark.parametrize(
    ("attempt", "delay"), [(1, 1.0), (2, 2.0), (6, 32.0), (7, 60.0), (5000, 60.0), (10**18, 60.0)]
)
def test_the_delay_grows_up_to_its_limit(attempt: int, delay: float) -> None:
    assert RetryPolicy().calculate_delay(attempt) == delay


@given(
    initial=st.floats(0, 1e300),
    coefficient=st.floats(0.001, 1e300),
    limit=st.floats(0, 1e300),
    attempt=st.integers(1, 10**30),
)
def test_no_delay_is_beyond_its_limit_or_overflows(
    initial: float, coefficient: float, limit: float, attempt: int
) -> None:
    policy = RetryPolicy(initial_interval=initial, backoff_coefficient=coefficient, max_interval=limit)

    assert 0 <= policy.calculate_delay(attempt) <= limit


def test_attempts_are_counted_from_one() -> None:
    with pytest.raises(ValueError, match="counted from 1, not 0"):
        RetryPolicy().calculate_delay(0)


class Terminal(TerminalError):
    pass


@pytest.mark.parametrize(
    ("error", "retryable"),
    [
        (OSError(), True),
        (ConnectionError(), True),
        (TimeoutError(), False),
        (ValueError(), False),
        (Terminal(), False),
        (KeyboardInterrupt(), False),
    ],
    ids=repr,
)
def test_what_is_never_retried_goes_first(error: BaseException, retryable: bool) -> None:
    policy = RetryPolicy(
        retryable_error_types=(OSError, TerminalError), non_retryable_error_types=(TimeoutError,)
    )

    assert policy.is_retryable(error) is retryable


def test_metadata_has_the_recorded_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edda.retry.now", lambda: datetime(2024, 2, 29, tzinfo=UTC))
    metadata = RetryMetadata(total_duration_ms=1500, exhausted=True)

    metadata.add_attempt(1, ValueError("no"))
    metadata.add_attempt(2, KeyError("x"))

    assert metadata.to_dict() == {
        "total_attempts": 2,
        "total_duration_ms": 1500,
        "exhausted": True,
        "errors": [
            {"attempt": 1, "error_type": "ValueError", "message": "no", "timestamp_ms": 1709164800000},
            {"attempt": 2, "error_type": "KeyError", "message": "'x'", "timestamp_ms": 1709164800000},
        ],
        "last_error": {"error_type": "KeyError", "message": "'x'"},
    }


def test_metadata_goes_on_from_what_was_recorded() -> None:
    metadata = RetryMetadata()
    metadata.add_attempt(1, ValueError("no"))

    restored = RetryMetadata.from_dict(loads(dumps(metadata.to_dict())))  # type: ignore[arg-type]

    assert restored == metadata
    restored.add_attempt(2, ValueError("again"))
    assert metadata.total_attempts == 1
    assert len(metadata.errors) == 1


def test_fresh_metadata_has_no_errors() -> None:
    assert RetryMetadata().to_dict() == {
        "total_attempts": 0,
        "total_duration_ms": 0,
        "exhausted": False,
        "errors": [],
        "last_error": None,
    }


def test_very_many_attempts_stay_small() -> None:
    metadata = RetryMetadata()
    for attempt in range(1, 251):
        metadata.add_attempt(attempt, ValueError("x" * 5000))

    assert metadata.total_attempts == 250
    assert [each["attempt"] for each in metadata.errors] == list(range(151, 251))
    assert len(dumps(metadata.to_dict())) < 150_000


def test_an_error_without_a_text_is_counted() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    metadata = RetryMetadata()
    metadata.add_attempt(1, Mute())

    assert metadata.last_error == {"error_type": "Mute", "message": ""}


def given_up(policy: RetryPolicy, attempts: int, error: BaseException, elapsed: float) -> str:
    decision = decide(policy, RetryMetadata(total_attempts=attempts), error=error, elapsed=elapsed)
    assert isinstance(decision, GiveUp)
    return decision.message("charge", attempts)


def test_an_attempt_follows_after_the_delay() -> None:
    decision = decide(RetryPolicy(), RetryMetadata(total_attempts=3), error=OSError(), elapsed=299.9)

    assert decision == RetryAfter(4.0)


def test_the_last_attempt_ends_it() -> None:
    assert given_up(RetryPolicy(), 5, OSError(), 1.0) == (
        "Activity charge failed after 5 attempts: Max attempts (5) reached"
    )


def test_a_type_that_is_not_retried_ends_it() -> None:
    policy = RetryPolicy(non_retryable_error_types=(KeyError,))

    assert given_up(policy, 1, KeyError("x"), 1.0) == (
        "Activity charge failed after 1 attempts: Error type KeyError is not retryable"
    )


def test_time_ends_it() -> None:
    assert given_up(RetryPolicy(max_attempts=None), 9, OSError(), 301.24) == (
        "Activity charge failed after 9 attempts: Max duration (300.0s) exceeded (elapsed: 301.2s)"
    )
    assert given_up(RetryPolicy(max_duration=0), 1, OSError(), 0.0).endswith(
        "Max duration (0s) exceeded (elapsed: 0.0s)"
    )


def test_without_limits_it_never_ends() -> None:
    decision = decide(INFINITE_RETRY, RetryMetadata(total_attempts=10**9), error=OSError(), elapsed=1e12)

    assert decision == RetryAfter(60.0)


def test_a_terminal_error_speaks_for_itself() -> None:
    decision = decide(RetryPolicy(), RetryMetadata(total_attempts=1), error=Terminal("no"), elapsed=0.0)

    assert decision == GiveUp(None)
