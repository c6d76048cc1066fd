"""When an activity is tried again, and when it gives up.

A failed attempt is put to :func:`decide`; the answer is :class:`RetryAfter` or
:class:`GiveUp`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, cast

from edda.clock import now
from edda.exceptions import TerminalError
from edda.types import JSONObject, JSONValue

__all__ = [
    "AGGRESSIVE_RETRY",
    "CONSERVATIVE_RETRY",
    "DEFAULT_RETRY_POLICY",
    "INFINITE_RETRY",
    "RetryMetadata",
    "RetryPolicy",
]

ErrorTypes: TypeAlias = tuple[type[BaseException], ...]

# An activity may be tried for years. Its record keeps the newest attempts, and the start of
# messages; the total is counted all the same.
_MAX_ERRORS = 100
_MAX_MESSAGE = 1000


@dataclass(frozen=True)
class RetryPolicy:
    """How often an activity is tried, and how long it waits in between.

    ``max_attempts`` counts the first attempt; ``max_duration`` is in seconds from the
    first attempt and is looked at after each failed one; None means no limit. Raises
    ValueError for values that make no sense.

    >>> policy = RetryPolicy(initial_interval=0.5, max_attempts=3)
    >>> [policy.calculate_delay(attempt) for attempt in (1, 2, 3)]
    [0.5, 1.0, 2.0]
    """

    initial_interval: float = 1.0
    backoff_coefficient: float = 2.0
    max_interval: float = 60.0
    max_attempts: int | None = 5
    max_duration: float | None = 300.0
    retryable_error_types: ErrorTypes = (Exception,)
    non_retryable_error_types: ErrorTypes = ()

    def __post_init__(self) -> None:
        _require("initial_interval", self.initial_interval, self.initial_interval >= 0)
        _require("backoff_coefficient", self.backoff_coefficient, self.backoff_coefficient > 0)
        _require("max_interval", self.max_interval, self.max_interval >= 0)
        if self.max_attempts is not None and (type(self.max_attempts) is not int or self.max_attempts < 1):
            raise ValueError(
                f"max_attempts must be a whole number from 1, or None, not {self.max_attempts!r}"
            )
        if self.max_duration is not None:
            _require("max_duration", self.max_duration, self.max_duration >= 0)
        for name in ("retryable_error_types", "non_retryable_error_types"):
            object.__setattr__(self, name, _error_types(name, getattr(self, name)))

    def calculate_delay(self, attempt: int) -> float:
        """Seconds to wait after the failed attempt of this number, counted from 1.

        ``initial_interval * backoff_coefficient ** (attempt - 1)``, at most ``max_interval``.

        >>> RetryPolicy().calculate_delay(10**9)
        60.0
        """
        if attempt < 1:
            raise ValueError(f"attempts are counted from 1, not {attempt!r}")
        if self.initial_interval == 0:
            return 0.0
        try:
            delay = self.initial_interval * float(self.backoff_coefficient) ** (attempt - 1)
        except OverflowError:
            return self.max_interval
        return min(delay, self.max_interval)

    def is_retryable(self, error: BaseException) -> bool:
        """Whether another attempt may help: the types that never are retried are looked at first.

        >>> policy = RetryPolicy(non_retryable_error_types=(KeyError,))
        >>> policy.is_retryable(OSError()), policy.is_retryable(KeyError())
        (True, False)
        """
        if isinstance(error, (TerminalError, *self.non_retryable_error_types)):
            return False
        return isinstance(error, self.retryable_error_types)


def _require(name: str, value: float, holds: bool) -> None:  # noqa: FBT001 - the caller's condition
    if not holds or math.isnan(value):
        bound = "greater than 0" if name == "backoff_coefficient" else "0 or more"
        raise ValueError(f"{name} must be {bound}, not {value!r}")


def _error_types(name: str, given: Any) -> ErrorTypes:
    types = (given,) if isinstance(given, type) else tuple(given)
    for each in types:
        if not (isinstance(each, type) and issubclass(each, BaseException)):
            # A ValueError like all others of a policy, so that callers need to know one.
            raise ValueError(f"{name} must hold classes of exceptions, not {each!r}")  # noqa: TRY004
    return cast("ErrorTypes", types)


DEFAULT_RETRY_POLICY: Final = RetryPolicy()
"""Five attempts within five minutes."""

AGGRESSIVE_RETRY: Final = RetryPolicy(
    initial_interval=0.1, backoff_coefficient=1.5, max_interval=10.0, max_attempts=10, max_duration=60.0
)
"""Ten quick attempts within a minute, for services that recover fast."""

CONSERVATIVE_RETRY: Final = RetryPolicy(
    initial_interval=5.0, backoff_coefficient=2.0, max_interval=300.0, max_attempts=3, max_duration=900.0
)
"""Three attempts far apart, for services that must be spared."""

INFINITE_RETRY: Final = RetryPolicy(max_attempts=None, max_duration=None)
"""No end, at most a minute apart."""


@dataclass
class RetryMetadata:
    """What is recorded about the attempts of one activity.

    >>> metadata = RetryMetadata()
    >>> metadata.add_attempt(1, ValueError("no"))
    >>> metadata.total_attempts, metadata.last_error
    (1, {'error_type': 'ValueError', 'message': 'no'})
    """

    total_attempts: int = 0
    total_duration_ms: int = 0
    exhausted: bool = False
    errors: list[JSONObject] = field(default_factory=list)
    last_error: JSONObject | None = None

    def add_attempt(self, attempt: int, error: BaseException) -> None:
        """Note a failed attempt; of very many, the newest hundred are kept."""
        described: JSONObject = {"error_type": type(error).__name__, "message": _message(error)}
        self.total_attempts = attempt
        self.last_error = described
        stamp = int(now().timestamp() * 1000)
        self.errors.append({"attempt": attempt, **described, "timestamp_ms": stamp})
        del self.errors[:-_MAX_ERRORS]

    def to_dict(self) -> JSONObject:
        """The JSON object of the record.

        >>> RetryMetadata(total_attempts=2).to_dict()["total_attempts"]
        2
        """
        return {
            "total_attempts": self.total_attempts,
            "total_duration_ms": self.total_duration_ms,
            "exhausted": self.exhausted,
            "errors": cast("JSONValue", list(self.errors)),
            "last_error": self.last_error,
        }

    @classmethod
    def from_dict(cls, fields: JSONObject) -> RetryMetadata:
        """The counterpart of :meth:`to_dict`.

        >>> RetryMetadata.from_dict(RetryMetadata(total_attempts=2).to_dict())
        RetryMetadata(total_attempts=2, total_duration_ms=0, exhausted=False, errors=[], last_error=None)
        """
        return cls(
            cast("int", fields["total_attempts"]),
            cast("int", fields["total_duration_ms"]),
            cast("bool", fields["exhausted"]),
            list(cast("list[JSONObject]", fields["errors"])),
            cast("JSONObject | None", fields["last_error"]),
        )


def _message(error: BaseException) -> str:
    try:
        return str(error)[:_MAX_MESSAGE]
    except Exception:  # noqa: BLE001 - a broken error class must not hide that the attempt failed
        return ""


@dataclass(frozen=True, slots=True)
class RetryAfter:
    """Try again after so many seconds."""

    delay: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """No further attempt; ``reason`` is None when the error itself says so (:class:`TerminalError`)."""

    reason: str | None

    def message(self, activity_name: str, attempts: int) -> str:
        """The text of the ``RetryExhaustedError``.

        >>> GiveUp("Max attempts (5) reached").message("charge", 5)
        'Activity charge failed after 5 attempts: Max attempts (5) reached'
        """
        return f"Activity {activity_name} failed after {attempts} attempts: {self.reason}"


def decide(
    policy: RetryPolicy, metadata: RetryMetadata, *, error: BaseException, elapsed: float
) -> RetryAfter | GiveUp:
    """What follows a failed attempt that ``metadata`` already counts.

    ``elapsed`` is in seconds from the first attempt.

    >>> metadata = RetryMetadata(total_attempts=2)
    >>> decide(RetryPolicy(), metadata, error=OSError(), elapsed=1.5)
    RetryAfter(delay=2.0)
    >>> decide(RetryPolicy(max_attempts=2), metadata, error=OSError(), elapsed=1.5)
    GiveUp(reason='Max attempts (2) reached')
    """
    if isinstance(error, TerminalError):
        return GiveUp(None)
    if not policy.is_retryable(error):
        return GiveUp(f"Error type {type(error).__name__} is not retryable")
    attempts = metadata.total_attempts
    if policy.max_attempts is not None and attempts >= policy.max_attempts:
        return GiveUp(f"Max attempts ({policy.max_attempts}) reached")
    if policy.max_duration is not None and elapsed >= policy.max_duration:
        return GiveUp(f"Max duration ({policy.max_duration}s) exceeded (elapsed: {elapsed:.1f}s)")
    return RetryAfter(policy.calculate_delay(attempts))
