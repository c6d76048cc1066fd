"""What becomes of an event after an attempt to send it: the rules, without doing anything."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from edda.ids import fraction
from edda.outbox.answers import Answer, Postponed, Published, Refused
from edda.storage.records import LeasedEvent
from edda.storage.writes_outbox import OutboxMarked
from edda.types import OutboxStatus

LONGEST_BACK_OFF = 30.0
_JITTER = 0.1
_HOUR = 3600.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RetryRules:
    """How often and for how long an event is tried; seconds and hours."""

    poll_interval: float
    max_retries: int
    max_age_hours: float | None

    def back_off(self, failures: int) -> float:
        """Seconds until the next attempt after so many failures."""
        seconds = min(self.poll_interval * 2.0 ** min(failures, 32), LONGEST_BACK_OFF)
        return seconds * (1.0 - _JITTER + 2.0 * _JITTER * fraction())

    def expiry(self, event: LeasedEvent) -> OutboxMarked | None:
        """The mark of an event that is too old to be sent."""
        if self.max_age_hours is None or event.age <= self.max_age_hours * _HOUR:
            return None
        error = f"Exceeded max age ({self.max_age_hours} hours)"
        return _final(event, OutboxStatus.EXPIRED, error)

    def mark(self, event: LeasedEvent, answer: Answer) -> OutboxMarked:
        """What is to be written down about the event after this answer."""
        match answer:
            case Published():
                return unchanged(event, OutboxStatus.PUBLISHED)
            case Refused(error):
                return _final(event, OutboxStatus.INVALID, error)
            case Postponed():
                return self._postpone(event, answer)

    def _postpone(self, event: LeasedEvent, answer: Postponed) -> OutboxMarked:
        failures = event.failures + 1
        retry_count = event.retry_count + answer.counts
        if answer.counts and retry_count >= self.max_retries:
            mark = _final(event, OutboxStatus.FAILED, answer.error)
            return replace(mark, failures=failures, retry_count=retry_count)
        return OutboxMarked(
            event,
            OutboxStatus.PENDING,
            error=answer.error,
            failures=failures,
            retry_count=retry_count,
            delay=max(self.back_off(failures), answer.retry_after or 0.0),
            # What the broker has asked for holds, whatever other events meet.
            for_broker=answer.broker_away and answer.retry_after is None,
        )


def unchanged(event: LeasedEvent, status: OutboxStatus) -> OutboxMarked:
    """A mark that says nothing new about failures."""
    return OutboxMarked(
        event, status, error=event.last_error, failures=event.failures, retry_count=event.retry_count
    )


def _final(event: LeasedEvent, status: OutboxStatus, error: str) -> OutboxMarked:
    logger.warning(
        "Event %s of type %s is given up as %s: %s",
        event.event_id,
        event.event_type,
        status,
        error,
        extra={"event_id": event.event_id},
    )
    return replace(unchanged(event, status), error=error)
