"""Every error and signal of the library.

::

    Exception
     └ EddaError
        ├ TerminalError                 raised by users: do not retry
        ├ RetryExhaustedError           an activity gave up; __cause__ is the last error
        ├ LockNotAcquiredError          also a RuntimeError
        ├ LockLostError                 also a RuntimeError
        ├ ShuttingDownError             also a RuntimeError: the app stopped during the run
        ├ NonDeterminismError           the body does not match its history
        ├ PayloadTooLargeError          also a ValueError; attributes where, size, limit
        ├ StoredValueError              also a ValueError; a stored value can no longer be restored
        ├ MissingRequiredFields         also a ValueError: an event lacks an attribute
        ├ InvalidRequiredFields         also a ValueError: a required attribute cannot be used
        ├ InvalidEventError             an event is refused; __cause__ says why
        └ StorageError                  the database failed, and bounded retries did not help
           └ TransactionLostError          nothing of this transaction was stored
    BaseException
     └ WorkflowSignal                   steers the engine; ``except Exception`` does not see it
        └ WorkflowSuspended             ends a run that was evicted, superseded or drained
"""

from __future__ import annotations


class EddaError(Exception):
    """Base of all errors of the library."""


class TerminalError(EddaError):
    """Raised in an activity to say that another attempt cannot help."""


class RetryExhaustedError(EddaError):
    """An activity gave up; ``__cause__`` is the error of its last attempt."""


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


class TransactionLostError(StorageError):
    """The database was in trouble and nothing of the transaction was stored; it can be done again."""


class WorkflowSignal(BaseException):
    """Base of the signals by which the engine ends a run; never an error of the workflow."""


class WorkflowSuspended(WorkflowSignal):
    """Ends the coroutine of a run that another run has replaced or will continue."""
