"""The fast path takes plain JSON and nothing else."""

from __future__ import annotations

import math
from collections import OrderedDict
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given

from edda.codec.json import MAX_DEPTH
from edda.codec.plain import NotPlainError, is_text, snapshot
from edda.codec.sameness import same
from tests.support.kinds import Color, Level, Point, UserId, plain_json, texts
from tests.support.naming import case_name


@given(plain_json)
def test_plain_json_is_copied_or_refused_for_its_text(value: Any) -> None:
    try:
        copy = snapshot(value)
    except NotPlainError:
        assert "\\u0000" in ascii(value).replace("\\x00", "\\u0000")
    else:
        assert same(copy, value)


@given(texts)
def test_text_is_plain_if_utf_8_can_carry_it_without_nul(text: str) -> None:
    assert is_text(text) == ("\0" not in text and not any("\ud800" <= char <= "\udfff" for char in text))


def test_the_copy_shares_nothing_that_can_change() -> None:
    value: dict[str, Any] = {"list": [{"a": 1}]}

    copy = snapshot(value)
    value["list"][0]["a"] = 2

    assert copy == {"list": [{"a": 1}]}


NOT_PLAIN = [
    (1,),
    {1},
    b"",
    Decimal(1),
    math.nan,
    math.inf,
    "\0",
    "é\ud800",
    Color.RED,
    Level.LOW,
    UserId("u"),
    OrderedDict(),
    Point(1),
    {1: 2},
    {UserId("u"): 1},
    {"\0": 1},
    {"é\udfff": 1},
    object(),
]


@pytest.mark.parametrize("value", NOT_PLAIN, ids=case_name)
def test_what_json_would_change_is_not_plain_at_any_depth(value: Any) -> None:
    for outer in (value, [value], {"a": value}, [{"a": [value]}]):
        with pytest.raises(NotPlainError):
            snapshot(outer)


def test_depth_is_limited() -> None:
    value: Any = 1.5
    for _ in range(MAX_DEPTH):
        value = [value]

    assert snapshot(value) == value
    for deeper in ([value], {"a": value}):
        with pytest.raises(NotPlainError):
            snapshot(deeper)
