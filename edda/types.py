"""States, row kinds and the aliases for JSON and ASGI that every layer shares."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from enum import StrEnum
from typing import Any, TypeAlias

JSONValue: TypeAlias = "str | int | float | bool | list[JSONValue] | dict[str, JSONValue] | None"
JSONObject: TypeAlias = "dict[str, JSONValue]"

# ASGI leaves the contents of its messages open, so these are the one place for untyped dicts.
Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]


class Status(StrEnum):
    """What an instance is doing; the last four are terminal and never change again."""

    RUNNING = "running"
    WAITING_FOR_TIMER = "waiting_for_timer"
    WAITING_FOR_MESSAGE = "waiting_for_message"
    COMPENSATING = "compensating"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    RECURRED = "recurred"

    @property
    def is_terminal(self) -> bool:
        """Whether an instance in this status has ended for good."""
        return self in TERMINAL_STATUSES


TERMINAL_STATUSES = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.RECURRED})


class EventType(StrEnum):
    """The kinds of rows in the history of an instance."""

    ACTIVITY_COMPLETED = "ActivityCompleted"
    ACTIVITY_FAILED = "ActivityFailed"
    TIMER_EXPIRED = "TimerExpired"
    TIME_READ = "TimeRead"
    RACE_WON = "RaceWon"
    WORKFLOW_FAILED = "WorkflowFailed"
    TRANSACTION_COMMITTED = "TransactionCommitted"
    TRANSACTION_ROLLED_BACK = "TransactionRolledBack"
    CHILD_WORKFLOW_STARTED = "ChildWorkflowStarted"


class WaitKind(StrEnum):
    """What a row in the table of waits waits for."""

    TIMER = "timer"
    RETRY = "retry"


def is_number(value: object) -> bool:
    """Whether a value that a user gave is a number: not a bool, not NaN."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value  # noqa: PLR0124
