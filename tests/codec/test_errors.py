"""Exceptions through the text of the database and back."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from edda.codec import classes
from edda.codec.errors import dump_error, error_fields, load_error
from edda.codec.json import dumps, loads
from edda.codec.sameness import same
from edda.exceptions import RetryExhaustedError, StoredValueError, TerminalError, WorkflowSuspended
from edda.types import JSONObject
from tests.support.failures import (
    Closed,
    Declined,
    DeclinedByBank,
    Described,
    Group,
    Mute,
    Slotted,
    Unreachable,
)
from tests.support.kinds import Item, values


def there_and_back(error: Exception) -> Exception:
    return load_error(loads(dumps(dump_error(error))))


def caused(error: BaseException, cause: BaseException) -> Any:
    error.__cause__ = cause
    return error


def test_the_stored_form() -> None:
    error = caused(Declined(51, reason="no money"), KeyError("x"))
    error.add_note("tried twice")

    assert dump_error(error) == {
        "type": "tests.support.failures:Declined",
        "message": "declined: no money",
        "args": ["declined: no money"],
        "attributes": {"code": 51, "reason": "no money"},
        "bases": ["builtins:Exception", "builtins:BaseException"],
        "notes": ["tried twice"],
        "cause": {
            "type": "builtins:KeyError",
            "message": "'x'",
            "args": ["x"],
            "attributes": {},
            "bases": ["builtins:LookupError", "builtins:Exception", "builtins:BaseException"],
            "notes": [],
            "cause": None,
        },
    }


ERRORS: list[Exception] = [
    ValueError("no"),
    ValueError(),
    KeyError("x"),
    RetryExhaustedError("Activity a failed after 5 attempts: Max attempts (5) reached"),
    TerminalError("no", (1, Decimal("1.50")), dt.date(2024, 2, 29)),
    Declined(51, reason="no money"),
    DeclinedByBank(51, reason="no money"),
    Described(1),
    Slotted(3),
    Unreachable("db"),
    FileNotFoundError(2, "No such file", "a.txt"),
    Closed("secret"),
    ValueError("a\0b\ud800"),
    Group("several", [ValueError(1), Group("inner", [KeyError("x")])]),
]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_type_arguments_message_and_attributes_come_back(error: Exception) -> None:
    restored = there_and_back(error)

    assert type(restored) is type(error)
    assert repr(restored) == repr(error)
    assert str(restored) == str(error)
    assert vars(restored) == vars(error)


@given(st.lists(values, max_size=3))
@settings(deadline=None, max_examples=50)
def test_arguments_of_every_kind_come_back(args: list[Any]) -> None:
    assert same(there_and_back(RuntimeError(*args)).args, tuple(args))


def test_the_chain_of_causes_comes_back() -> None:
    error = there_and_back(
        caused(RetryExhaustedError("gave up"), caused(Declined(1, reason="x"), OSError(5, "io")))
    )

    assert isinstance(error.__cause__, Declined)
    assert isinstance(error.__cause__.__cause__, OSError)
    assert error.__cause__.__cause__.errno == 5
    assert error.__suppress_context__


def test_a_timeout_keeps_the_cancellation_behind_it() -> None:
    error = there_and_back(caused(TimeoutError(), asyncio.CancelledError()))

    assert type(error.__cause__) is asyncio.CancelledError


def test_a_chain_without_end_is_cut() -> None:
    first, second = ValueError(1), ValueError(2)
    first.__cause__, second.__cause__ = second, first

    restored = there_and_back(first)

    assert restored.__cause__ is not None
    assert restored.__cause__.args == (2,)
    assert restored.__cause__.__cause__ is None

    long: BaseException = ValueError(0)
    for index in range(100):
        long = caused(ValueError(index), long)
    assert dumps(dump_error(long)).count('"cause":{') == 19


def test_errors_inside_arguments_and_attributes_come_back() -> None:
    error = RuntimeError("outer", Declined(1, reason="x"))
    error.last = KeyError("y")  # type: ignore[attr-defined]

    restored = there_and_back(error)

    assert repr(restored) == repr(error)
    assert restored.args[1].code == 1
    assert repr(vars(restored)["last"]) == "KeyError('y')"


def test_an_error_that_holds_itself_is_cut() -> None:
    error = RuntimeError("x")
    error.args = ("x", error)

    assert there_and_back(error).args[0] == "x"


def test_what_cannot_be_stored_becomes_its_repr_and_a_note_says_so() -> None:
    error = ValueError("no", socket.socket)
    error.held = Unstorable()  # type: ignore[attr-defined]

    restored = there_and_back(error)

    assert restored.args == ("no", "<class 'socket.socket'>")
    assert vars(restored)["held"] == "<Unstorable>"
    assert restored.__notes__ == [
        "args[1]: a value of type type cannot be stored; it is represented by its repr",
        f"held: a value of type {__name__}.Unstorable cannot be stored; it is represented by its repr",
    ]


class Unstorable:
    def __repr__(self) -> str:
        raise RuntimeError


def test_very_large_parts_are_shortened() -> None:
    error = ValueError("x" * 10**6, ["y" * 10**6])

    stored = dumps(dump_error(error))

    assert len(stored) < 250_000
    restored = load_error(loads(stored))
    assert str(restored.args[0]).endswith("... [934464 characters more]")
    assert str(restored.args[1]).startswith("['yyy")


def test_a_local_class_is_restored_exactly_in_this_process() -> None:
    class Local(KeyError):
        pass

    assert type(there_and_back(Local("x"))) is Local


def elsewhere(error: Exception, monkeypatch: pytest.MonkeyPatch) -> Exception:
    """As another process restores it, which does not know local classes."""
    stored = dumps(dump_error(error))
    monkeypatch.setattr(classes, "_local", {})
    return load_error(loads(stored))


def test_an_unknown_class_is_represented_by_its_nearest_base(monkeypatch: pytest.MonkeyPatch) -> None:
    class Local(DeclinedByBank):
        pass

    restored = elsewhere(caused(Local(51, reason="x"), ValueError("y")), monkeypatch)

    assert type(restored) is DeclinedByBank
    assert str(restored) == "bank says 51"
    assert repr(restored.__cause__) == "ValueError('y')"
    assert "stands for" in restored.__notes__[0]


def test_the_message_of_an_unknown_class_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    class Local(ValueError):
        def __str__(self) -> str:
            return "told differently"

    restored = elsewhere(Local("x", 1), monkeypatch)

    assert (type(restored), str(restored)) == (ValueError, "told differently")


def test_a_base_that_cannot_be_rebuilt_is_passed_over() -> None:
    stored = dump_error(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"))
    stored |= {
        "type": "no.such:Thing",
        "args": ["x"],
        "bases": ["builtins:UnicodeDecodeError", "builtins:ValueError"],
    }

    restored = load_error(stored)

    assert (type(restored), str(restored)) == (ValueError, stored["message"])


def test_only_classes_of_errors_are_ever_made() -> None:
    for name in (
        "builtins:dict",
        "builtins:SystemExit",
        "builtins:print",
        "os:system",
        "subprocess:Popen",
        "",
        "x",
    ):
        stored: JSONObject = {"type": name, "message": "no", "args": ["no"], "bases": [name]}
        restored = load_error(stored)
        assert (type(restored), str(restored)) == (Exception, "no")


def test_an_error_with_damaged_parts_is_still_an_error() -> None:
    stored: JSONObject = {
        "type": "builtins:ValueError",
        "args": [["x"]],
        "types": {"/args/0": "no.such:Thing"},
    }

    assert repr(load_error(stored)) == "ValueError(['x'])"
    with pytest.raises(StoredValueError):
        load_error("no object")


@pytest.mark.parametrize(
    "signal",
    [KeyboardInterrupt(), SystemExit(1), GeneratorExit(), asyncio.CancelledError(), WorkflowSuspended()],
    ids=repr,
)
def test_signals_are_never_recorded(signal: BaseException) -> None:
    with pytest.raises(TypeError, match="is a signal and is never recorded"):
        dump_error(signal)


def test_an_error_of_pydantic_comes_back() -> None:
    with pytest.raises(ValidationError) as raised:
        Item.model_validate({"quantity": "many"})

    restored = there_and_back(raised.value)

    assert isinstance(restored, ValidationError)
    assert str(restored) == str(raised.value)
    assert restored.errors() == raised.value.errors()


def test_a_large_group_is_cut() -> None:
    restored = there_and_back(ExceptionGroup("many", [ValueError(index) for index in range(500)]))

    assert isinstance(restored, ExceptionGroup)
    assert len(restored.exceptions) == 100


def test_error_fields_are_for_people() -> None:
    with pytest.raises(Declined) as raised:
        raise Declined(51, reason="no money")
    fields = error_fields(raised.value)

    assert (fields["error_type"], fields["error_message"]) == ("Declined", "declined: no money")
    assert "test_error_fields_are_for_people" in str(fields["stack_trace"])
    assert error_fields(Mute())["error_message"] == "<Mute without a message: its __str__ failed>"
    assert there_and_back(Mute()).args == ("<Mute without a message: its __str__ failed>",)
