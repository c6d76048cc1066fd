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
    COMPENSATION_REGISTERED = "CompensationRegistered"
    COMPENSATIONS_CLEARED = "CompensationsCleared"
    PIVOT_PASSED = "PivotPassed"
    COMPENSATIONS_BEGUN = "CompensationsBegun"
    COMPENSATION_EXECUTED = "CompensationExecuted"
    COMPENSATION_FAILED = "CompensationFailed"
    WORKFLOW_CANCELLED = "WorkflowCancelled"
    EVENT_SENT = "EventSent"
    OUTBOX_EVENT_ADDED = "OutboxEventAdded"
    CHANNEL_SUBSCRIBED = "ChannelSubscribed"
    CHANNEL_UNSUBSCRIBED = "ChannelUnsubscribed"
    CHANNEL_MESSAGE_RECEIVED = "ChannelMessageReceived"
    MESSAGE_TIMEOUT = "MessageTimeout"
    MESSAGE_PUBLISHED = "MessagePublished"
    MESSAGE_SENT = "MessageSent"


# What carries an exception, whose parts are bounded already when it becomes JSON, or stored
# arguments: the limit of a user must not make a failure or a rollback unrecordable.
ALWAYS_RECORDED = frozenset(
    {
        EventType.ACTIVITY_FAILED,
        EventType.TRANSACTION_ROLLED_BACK,
        EventType.CHILD_WORKFLOW_STARTED,
        EventType.COMPENSATION_EXECUTED,
        EventType.COMPENSATION_FAILED,
        EventType.EVENT_SENT,
    }
)


# In the row of a step that registers or clears compensations: its transaction was rolled back.
WITHDRAWN = "withdrawn"


class WaitKind(StrEnum):
    """What a row in the table of waits waits for."""

    TIMER = "timer"
    RETRY = "retry"
    MESSAGE = "message"


class ChannelMode(StrEnum):
    """Who gets a message of a channel: everybody who subscribed, or one of them."""

    BROADCAST = "broadcast"
    COMPETING = "competing"


class OutboxStatus(StrEnum):
    """What became of an event of the outbox; the last four are final."""

    PENDING = "pending"
    PROCESSING = "processing"
    PUBLISHED = "published"
    FAILED = "failed"
    INVALID = "invalid"
    EXPIRED = "expired"


class DataForm(StrEnum):
    """How the data of an event stands in a column of text."""

    JSON = "json"
    BASE64 = "base64"


def is_number(value: object) -> bool:
    """Whether a value that a user gave is a number: not a bool, not NaN."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value  # noqa: PLR0124
