"""Stack traces show the code of the user, and not too much of it."""

from __future__ import annotations

from typing import Any

import pytest

from edda.codec import readers
from edda.codec.tracebacks import format_error, message_of
from tests.support.failures import Mute


def caught(fail: Any) -> BaseException:
    with pytest.raises(Exception) as raised:
        fail()
    return raised.value


def test_the_trace_shows_where_and_what() -> None:
    def fail_here() -> None:
        raise ValueError("no")

    text = format_error(caught(fail_here))

    assert text.startswith("Traceback (most recent call last):\n")
    assert "in fail_here" in text
    assert text.endswith("ValueError: no\n")


def test_frames_of_the_library_are_left_out_of_causes_and_groups_too() -> None:
    def fail() -> None:
        try:
            readers.read([1], {"": "nope"})
        except ValueError as error:
            raise ExceptionGroup("several", [error]) from error

    text = format_error(caught(fail))

    assert "the class 'nope' of a stored value cannot be found" in text
    assert "in fail" in text
    assert "readers.py" not in text


def test_a_long_trace_keeps_its_beginning_and_its_end() -> None:
    def fail() -> None:
        raise ValueError("x" * 100_000 + "the end")

    text = format_error(caught(fail))

    assert len(text) < 17_000
    assert text.startswith("Traceback")
    assert "characters left out" in text
    assert text.endswith("the end\n")


def test_endless_recursion_is_short() -> None:
    def again(n: int) -> int:
        return again(n + 1)

    text = format_error(caught(lambda: again(0)))

    assert len(text) < 5_000
    assert "RecursionError" in text


def test_an_error_without_a_trace_or_a_text_has_one_all_the_same() -> None:
    assert format_error(ValueError("no")) == "ValueError: no\n"
    assert "Mute" in format_error(Mute())
    assert message_of(Mute()) == "<Mute without a message: its __str__ failed>"
    assert message_of(KeyError("x")) == "'x'"
