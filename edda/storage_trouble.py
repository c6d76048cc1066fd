"""Trouble of the database in the middle of an operation: it ends the run, not the workflow."""

from __future__ import annotations

from typing import Protocol

from edda.exceptions import StorageError, TransactionLostError, WorkflowSignal


class Stoppable(Protocol):
    """A run."""

    def stop(self, reason: Exception) -> None:
        """End the run for this reason."""
        ...

    def signal(self) -> WorkflowSignal:
        """The signal that ends its body."""
        ...


class StoppingOnStorageErrors:
    """A block in which trouble of the database ends the run."""

    # A class, because every step goes through it: a generator costs several times as much.
    __slots__ = ("_run",)

    def __init__(self, run: Stoppable) -> None:
        self._run = run

    def __enter__(self) -> None:
        """Nothing to do."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, StorageError) and not isinstance(error, TransactionLostError):
            self._run.stop(error)
            raise self._run.signal() from error
