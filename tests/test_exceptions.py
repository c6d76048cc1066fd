"""The tree of errors and signals."""

from __future__ import annotations

import inspect
import pickle

import pytest

from edda import exceptions
from edda.exceptions import (
    EddaError,
    InvalidEventError,
    LockLostError,
    LockNotAcquiredError,
    PayloadTooLargeError,
    ShuttingDownError,
    WorkflowSignal,
)

CLASSES = [cls for _, cls in inspect.getmembers(exceptions, inspect.isclass)]


def test_everything_is_an_error_of_edda_or_a_signal() -> None:
    assert all(issubclass(cls, (EddaError, WorkflowSignal)) for cls in CLASSES)


def test_no_signal_is_seen_by_except_exception() -> None:
    assert not any(issubclass(cls, Exception) for cls in CLASSES if issubclass(cls, WorkflowSignal))


def test_the_tree_in_the_docstring_names_every_class() -> None:
    assert exceptions.__doc__ is not None
    assert [cls.__name__ for cls in CLASSES if cls.__name__ not in exceptions.__doc__] == []


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (LockNotAcquiredError("i-1"), "Failed to acquire lock for instance i-1"),
        (LockLostError("i-1"), "Lock lost for instance i-1"),
        (ShuttingDownError("i-1"), "EddaApp is shutting down"),
    ],
)
def test_errors_of_leases_name_the_instance_and_are_runtime_errors(error: EddaError, text: str) -> None:
    assert isinstance(error, RuntimeError)
    assert (str(error), error.instance_id) == (text, "i-1")  # type: ignore[attr-defined]


def test_a_payload_that_is_too_large_says_where_and_how_large() -> None:
    error = PayloadTooLargeError("result", 12, 10)
    assert isinstance(error, ValueError)
    assert (error.where, error.size, error.limit) == ("result", 12, 10)
    assert str(error) == "result: 12 bytes of JSON are more than the limit of 10"


def test_a_refused_event_has_the_reason_as_cause_and_text() -> None:
    reason = TypeError("no number")
    error = InvalidEventError(reason)
    assert (error.__cause__, str(error)) == (reason, "no number")


def test_plain_errors_survive_pickling() -> None:
    error = pickle.loads(pickle.dumps(exceptions.TerminalError("no", 5)))  # noqa: S301 - made here
    assert (type(error), error.args) == (exceptions.TerminalError, ("no", 5))
