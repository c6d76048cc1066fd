"""Which answers of a broker mean what."""

from __future__ import annotations

from datetime import timedelta
from email.utils import format_datetime

import pytest

from edda.clock import now
from edda.outbox.answers import Answer, Postponed, Published, Refused, answer_of, no_answer

COUNTED = (301, 302, 307, 408, 425, 500, 501, 505)
AWAY = (502, 503, 504)


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_what_was_taken_is_published(status: int) -> None:
    assert answer_of(status, {}, "whatever") == Published()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 410, 413, 422, 451])
def test_what_can_never_be_taken_is_refused(status: int) -> None:
    assert answer_of(status, {}, "no") == Refused(f"HTTP {status}: no")


@pytest.mark.parametrize("status", [*COUNTED, *AWAY, 429])
def test_what_may_pass_is_postponed(status: int) -> None:
    expected = Postponed(f"HTTP {status}: wait", counts=status in COUNTED, broker_away=status in AWAY)
    assert answer_of(status, {}, "wait") == expected


def test_an_error_quotes_200_characters_of_the_answer() -> None:
    assert answer_of(404, {}, "x" * 1000) == Refused("HTTP 404: " + "x" * 200)


def test_no_answer_says_nothing_about_the_event() -> None:
    assert no_answer(OSError("gone")) == Postponed("OSError: gone", broker_away=True)
    assert no_answer(TimeoutError()) == Postponed("TimeoutError", broker_away=True)


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("7", 7), ("100000", 300), ("soon", None), ("-1", None), ("", None)]
)
def test_retry_after_in_seconds_is_bounded(text: str, seconds: float | None) -> None:
    for status in (429, 503, 500):
        assert _retry_after(answer_of(status, {"retry-after": text}, "")) == seconds


@pytest.mark.parametrize(("offset", "seconds"), [(60, 60), (-60, 0), (86_400, 300)])
def test_retry_after_may_be_a_date(offset: float, seconds: float) -> None:
    text = format_datetime(now() + timedelta(seconds=offset), usegmt=True)
    assert _retry_after(answer_of(503, {"retry-after": text}, "")) == pytest.approx(seconds, abs=3)


def test_a_date_without_a_zone_is_not_understood() -> None:
    assert _retry_after(answer_of(503, {"retry-after": "Sun, 06 Nov 1994 08:49:37"}, "")) is None


def _retry_after(answer: Answer) -> float | None:
    assert isinstance(answer, Postponed)
    return answer.retry_after
