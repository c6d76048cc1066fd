"""JSON text: what survives it, and what it refuses."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given

from edda.codec.json import check_size, dumps, loads
from edda.exceptions import EddaError, PayloadTooLargeError
from tests.support.kinds import plain_json


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@given(plain_json)
def test_plain_json_comes_back(value: Any) -> None:
    assert loads(dumps(value)) == value


@given(plain_json)
def test_the_text_is_what_other_parsers_read(value: Any) -> None:
    assert json.loads(dumps(value)) == value


@pytest.mark.parametrize("value", [2**64, -(10**400), 0.1, 5e-324, 1e22, "é😀", "\u2028"])
def test_numbers_and_text_keep_every_digit_and_letter(value: Any) -> None:
    assert loads(dumps(value)) == value


def test_nan_and_the_infinities_survive() -> None:
    values = loads(dumps([math.nan, math.inf, -math.inf]))

    assert str(values) == "[nan, inf, -inf]"


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "\udc00x", "\\u0000"])
def test_text_that_databases_refuse_is_escaped_and_comes_back(text: str) -> None:
    stored = dumps({text: text})

    assert "\0" not in stored
    stored.encode()
    assert loads(stored) == {text: text}


def test_text_and_its_utf_8_are_read_alike() -> None:
    assert loads('{"a":"é"}') == loads('{"a":"é"}'.encode())


@pytest.mark.parametrize("text", ["", "{", "[1,]", "nope", '{"a":1}x', "[" * 100_000])
def test_anything_else_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        loads(text)


@pytest.mark.parametrize("depth", [1, 200, 201, 254])
def test_what_can_be_written_can_be_read(depth: int) -> None:
    assert loads(dumps(nested(depth))) == nested(depth)


def test_a_text_nested_deeper_than_any_value_is_refused() -> None:
    with pytest.raises(ValueError, match="nested deeper than 254 levels"):
        loads("[" * 300 + "]" * 300)


def test_a_value_that_is_too_deep_or_contains_itself_is_a_type_error() -> None:
    circle: list[Any] = []
    circle.append(circle)
    refused: list[Any] = [nested(300), circle, object()]
    for value in refused:
        with pytest.raises(TypeError, match="cannot be written as JSON"):
            dumps(value)


def test_the_size_limit_counts_bytes_and_names_the_place() -> None:
    check_size("é", "result", limit=2)

    with pytest.raises(
        PayloadTooLargeError, match=r"^result: 4 bytes of JSON are more than the limit of 3$"
    ) as raised:
        check_size('"é"', "result", limit=3)
    assert isinstance(raised.value, ValueError)
    assert isinstance(raised.value, EddaError)
    assert (raised.value.where, raised.value.size, raised.value.limit) == ("result", 4, 3)
