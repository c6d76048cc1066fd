"""Trouble of the database in the middle of an operation."""

from __future__ import annotations

import pytest

from edda.exceptions import StorageError, TransactionLostError, WorkflowSignal, WorkflowSuspended
from edda.storage_trouble import StoppingOnStorageErrors


class StoppableRun:
    def __init__(self) -> None:
        self.reasons: list[Exception] = []

    def stop(self, reason: Exception) -> None:
        self.reasons.append(reason)

    def signal(self) -> WorkflowSignal:
        return WorkflowSuspended("over")


def test_it_ends_the_run_and_not_the_workflow() -> None:
    run, trouble = StoppableRun(), StorageError("away")
    with pytest.raises(WorkflowSuspended) as caught, StoppingOnStorageErrors(run):
        raise trouble
    assert run.reasons == [trouble]
    assert caught.value.__cause__ is trouble


@pytest.mark.parametrize("error", [TransactionLostError("lost"), ValueError("of the user")])
def test_what_can_be_tried_again_and_what_is_of_the_user_goes_through(error: Exception) -> None:
    run = StoppableRun()
    with pytest.raises(type(error)), StoppingOnStorageErrors(run):
        raise error
    assert run.reasons == []
