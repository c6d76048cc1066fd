"""What an attempt to send an event came to, and which answers of a broker mean what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TypeAlias

from edda.clock import now

LONGEST_ANSWER = 200
_LONGEST_RETRY_AFTER = 300.0

_OK = range(200, 300)
_REDIRECTS = range(300, 400)
_CLIENT_ERRORS = range(400, 500)
_TRY_AGAIN = frozenset({408, 425})
_TOO_MANY = 429
# A gateway says that nothing is behind it; that is no verdict about the event.
_AWAY = frozenset({502, 503, 504})


@dataclass(frozen=True, slots=True)
class Published:
    """The broker has taken the event."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The broker will never take this event."""

    error: str


@dataclass(frozen=True, slots=True)
class Postponed:
    """Another attempt may succeed.

    ``counts``: the answer is about this event, so it counts towards giving up.
    ``broker_away``: there seems to be no broker. ``retry_after``: seconds it asked for.
    """

    error: str
    counts: bool = False
    broker_away: bool = False
    retry_after: float | None = None


Answer: TypeAlias = Published | Refused | Postponed


def answer_of(status: int, headers: Mapping[str, str], text: str) -> Answer:
    """What an HTTP answer means for the event.

    >>> answer_of(404, {}, "no such topic")
    Refused(error='HTTP 404: no such topic')
    >>> answer_of(429, {"retry-after": "7"}, "slow down").retry_after
    7.0
    """
    if status in _OK:
        return Published()
    error = f"HTTP {status}: {text[:LONGEST_ANSWER]}"
    if status == _TOO_MANY:
        return Postponed(error, retry_after=_retry_after(headers))
    if status in _AWAY:
        return Postponed(error, broker_away=True, retry_after=_retry_after(headers))
    if status in _CLIENT_ERRORS and status not in _TRY_AGAIN:
        return Refused(error)
    return Postponed(error, counts=True, retry_after=_retry_after(headers))


def no_answer(error: Exception) -> Postponed:
    """There was no answer: the way to the broker or the broker is broken."""
    said = str(error)
    name = type(error).__name__
    return Postponed(f"{name}: {said}"[:LONGEST_ANSWER] if said else name, broker_away=True)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, from seconds or a date; what cannot be read was not said."""
    text = headers.get("retry-after", "").strip()
    if text.isdecimal():
        return min(float(text), _LONGEST_RETRY_AFTER)
    try:
        seconds = (parsedate_to_datetime(text) - now()).total_seconds()
    except (TypeError, ValueError):  # no date, or one without a zone
        return None
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER)
