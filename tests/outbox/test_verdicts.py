"""What becomes of an event after an attempt."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from edda.clock import now
from edda.outbox.answers import Postponed, Published, Refused
from edda.outbox.verdicts import RetryRules
from edda.storage.records import LeasedEvent
from edda.types import DataForm, OutboxStatus

RULES = RetryRules(poll_interval=1.0, max_retries=3, max_age_hours=2)
EVENT = LeasedEvent(
    id=1,
    ordering_key="k",
    token="t",
    event_id="e-1",
    event_type="paid",
    source="/s",
    subject=None,
    extensions=None,
    content_type="application/json",
    data="{}",
    form=DataForm.JSON,
    created_at=now(),
    age=10.0,
    failures=4,
    retry_count=1,
    last_error="HTTP 500: old",
)


@pytest.mark.parametrize(
    ("failures", "seconds"), [(1, 2), (2, 4), (3, 8), (4, 16), (5, 30), (6, 30), (10**6, 30)]
)
def test_the_wait_doubles_up_to_30_seconds_give_or_take_a_tenth(failures: int, seconds: float) -> None:
    waits = [RULES.back_off(failures) for _ in range(200)]
    assert min(waits) >= seconds * 0.9
    assert max(waits) <= seconds * 1.1
    assert max(waits) - min(waits) > seconds * 0.05


def test_a_published_event_keeps_what_happened_on_the_way() -> None:
    mark = RULES.mark(EVENT, Published())
    assert (mark.status, mark.error) == (OutboxStatus.PUBLISHED, "HTTP 500: old")
    assert (mark.failures, mark.retry_count) == (4, 1)


def test_a_refused_event_is_given_up_with_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        mark = RULES.mark(EVENT, Refused("HTTP 404: no"))
    assert (mark.status, mark.error) == (OutboxStatus.INVALID, "HTTP 404: no")
    assert "e-1" in caplog.text


def test_a_counted_failure_is_counted_until_it_is_one_too_many() -> None:
    mark = RULES.mark(EVENT, Postponed("HTTP 500: x", counts=True))
    assert (mark.status, mark.failures, mark.retry_count) == (OutboxStatus.PENDING, 5, 2)
    assert not mark.for_broker
    mark = RULES.mark(replace(EVENT, retry_count=2), Postponed("HTTP 500: x", counts=True))
    assert (mark.status, mark.failures, mark.retry_count) == (OutboxStatus.FAILED, 5, 3)
    assert mark.error == "HTTP 500: x"


def test_other_failures_never_give_an_event_up() -> None:
    tried = replace(EVENT, retry_count=2, failures=10**9)
    mark = RULES.mark(tried, Postponed("HTTP 503: x", broker_away=True))
    assert (mark.status, mark.retry_count, mark.for_broker) == (OutboxStatus.PENDING, 2, True)
    assert mark.delay <= 33


def test_what_the_broker_asks_for_holds_even_when_it_is_back() -> None:
    mark = RULES.mark(EVENT, Postponed("HTTP 503: x", broker_away=True, retry_after=120.0))
    assert (mark.delay, mark.for_broker) == (120.0, False)
    mark = RULES.mark(EVENT, Postponed("HTTP 429: x", retry_after=0.0))
    assert mark.delay >= 27


def test_only_what_is_older_than_the_limit_expires() -> None:
    assert RULES.expiry(replace(EVENT, age=7200.0)) is None
    mark = RULES.expiry(replace(EVENT, age=7201.0))
    assert mark is not None
    assert (mark.status, mark.error) == (OutboxStatus.EXPIRED, "Exceeded max age (2 hours)")
    assert replace(RULES, max_age_hours=None).expiry(replace(EVENT, age=1e12)) is None
