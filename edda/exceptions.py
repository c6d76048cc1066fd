"""Every error and signal of the library.

::

    Exception
     └ EddaError
        ├ TerminalError                 raised by users: do not retry
        ├ RetryExhaustedError           an activity gave up; __cause__ is the last error
        ├ WorkflowCancelledException    the instance was cancelled
        ├ EventTimeoutError             also a TimeoutError; attributes event_type, timeout_seconds
        ├ ChannelModeConflictError      attributes channel, existing_mode, requested_mode
        ├ LockNotAcquiredError          also a RuntimeError
        ├ LockLostError                 also a RuntimeError
        ├ ShuttingDownError             also a RuntimeError: the app stopped during the run
        ├ NonDeterminismError           the body does not match its history
        ├ PayloadTooLargeError          also a ValueError; attributes where, size, limit
        ├ StoredValueError              also a ValueError; a stored value can no longer be restored
        ├ MissingRequiredFields         also a ValueError: an event lacks an attribute
        ├ InvalidRequiredFields         also a ValueError: a required attribute cannot be used
        ├ InvalidEventError             an event is refused; __cause__ says why
        ├ UnauthorizedError             a request does not show who sent it; attribute challenge
        ├ ForbiddenError                a request that its sender may not make
        └ StorageError                  the database failed, and bounded retries did not help
           ├ StorageUnavailableError       it cannot be reached; the same may succeed later
           └ TransactionLostError          nothing of this transaction was stored
    BaseException
     └ WorkflowSignal                   steers the engine; ``except Exception`` does not see it
        ├ WorkflowSuspended             ends a run that was evicted, superseded or drained
        └ RecurException                ends an instance that a successor continues; attribute kwargs
"""

from __future__ import annotations

__all__ = [
    "ChannelModeConflictError",
    "EddaError",
    "EventTimeoutError",
    "LockLostError",
    "LockNotAcquiredError",
    "NonDeterminismError",
    "RecurException",
    "RetryExhaustedError",
    "StorageError",
    "TerminalError",
    "WorkflowCancelledException",
    "WorkflowSignal",
    "WorkflowSuspended",
]


class EddaError(Exception):
    """Base of all errors of the library."""


class TerminalError(EddaError):
    """Raised in an activity to say that another attempt cannot help."""


class RetryExhaustedError(EddaError):
    """An activity gave up; ``__cause__`` is the error of its last attempt."""


class WorkflowCancelledException(EddaError):
    """The instance was cancelled: every further durable operation of its body raises this.

    A body may catch it to tidy up; the instance ends as cancelled all the same.
    """


class EventTimeoutError(EddaError, TimeoutError):
    """``wait_event`` waited for as long as it was told to; the workflow may go on from there."""

    def __init__(self, event_type: str, timeout_seconds: float) -> None:
        super().__init__(f"Event {event_type!r} did not arrive within {timeout_seconds} seconds")
        self.event_type = event_type
        self.timeout_seconds = timeout_seconds


class ChannelModeConflictError(EddaError):
    """A live instance is subscribed to the channel in another mode."""

    def __init__(self, channel: str, existing_mode: str, requested_mode: str) -> None:
        super().__init__(
            f"Channel {channel!r} is already configured as {existing_mode!r} mode. "
            f"Cannot subscribe with {requested_mode!r} mode."
        )
        self.channel = channel
        self.existing_mode = existing_mode
        self.requested_mode = requested_mode


class LockNotAcquiredError(EddaError, RuntimeError):
    """Another worker holds the lease of the instance."""

    def __init__(self, instance_id: str) -> None:
        super().__init__(f"Failed to acquire lock for instance {instance_id}")
        self.instance_id = instance_id


class LockLostError(EddaError, RuntimeError):
    """The lease went to another worker during the run; the instance continues there."""

    def __init__(self, instance_id: str) -> None:
        super().__init__(f"Lock lost for instance {instance_id}")
        self.instance_id = instance_id


class ShuttingDownError(EddaError, RuntimeError):
    """The app is stopping; the instance goes on elsewhere, or when the app is initialized again."""

    def __init__(self, instance_id: str | None = None) -> None:
        super().__init__("EddaApp is shutting down")
        self.instance_id = instance_id


class NonDeterminismError(EddaError):
    """The workflow function does not match the recorded history of the instance."""

    @classmethod
    def in_ended_transaction(cls, step_id: str, instance_id: str) -> NonDeterminismError:
        """The code attempts a step in a transaction that has been recorded without it."""
        return cls(
            f"Step {step_id!r} of instance {instance_id} is not recorded, but the transaction around it is. "
            "The code does not match the history; the instance is set aside, not failed, and goes on when "
            "the matching code is deployed."
        )


class MissingRequiredFields(EddaError, ValueError):
    """An event has no ``id``, ``source``, ``type`` or readable ``specversion``."""


class InvalidRequiredFields(EddaError, ValueError):
    """A required attribute of an event is there but empty, no text, or an unknown version."""


class InvalidEventError(EddaError):
    """An event is refused before anything was stored; ``__cause__`` is the reason.

    Made from that reason, so that it is never without one::

        raise InvalidEventError(error) from error
    """

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.__cause__ = cause


class UnauthorizedError(EddaError):
    """Raised by ``authenticate`` hooks: 401. ``challenge`` is the value of ``WWW-Authenticate``."""

    def __init__(self, text: str, *, challenge: str = "Bearer") -> None:
        super().__init__(text)
        self.challenge = challenge


class ForbiddenError(EddaError):
    """Raised by ``authenticate`` hooks: 403, whoever asks."""


class PayloadTooLargeError(EddaError, ValueError):
    """A value is larger, in bytes of JSON text, than the configured limit; nothing was stored."""

    def __init__(self, where: str, size: int, limit: int) -> None:
        super().__init__(f"{where}: {size} bytes of JSON are more than the limit of {limit}")
        self.where = where
        self.size = size
        self.limit = limit


class StoredValueError(EddaError, ValueError):
    """A stored value cannot be restored: its class is gone or no longer accepts it."""


class StorageError(EddaError):
    """The database failed, or holds a schema this version cannot work with."""


class StorageUnavailableError(StorageError):
    """The database cannot be reached, or the storage is closed: the same may succeed later."""


class TransactionLostError(StorageError):
    """The database was in trouble and nothing of the transaction was stored; it can be done again."""


class WorkflowSignal(BaseException):
    """Base of the signals by which the engine ends a run; never an error of the workflow."""


class WorkflowSuspended(WorkflowSignal):
    """Ends the coroutine of a run that another run has replaced or will continue."""


class RecurException(WorkflowSignal):
    """Ends an instance so that a new one continues with these arguments; raised by ``ctx.recur()``."""

    def __init__(self, kwargs: dict[str, object]) -> None:
        super().__init__("Workflow recur requested")
        self.kwargs = kwargs
