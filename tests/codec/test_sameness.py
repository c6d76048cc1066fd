"""Equal, and of the same types all through."""

from __future__ import annotations

import copy
import datetime as dt
import math
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from pydantic_core import TzInfo

from edda.codec.sameness import same
from tests.support.kinds import Color, Frozen, Hiding, Item, Line, Loose, Open, Point, SpecialItem, values
from tests.support.naming import case_name

BERLIN, PARIS = ZoneInfo("Europe/Berlin"), ZoneInfo("Europe/Paris")


def moment(tzinfo: dt.tzinfo | None) -> dt.datetime:
    return dt.datetime(2024, 7, 1, 12, tzinfo=tzinfo)


def seen(value: Any) -> Loose:
    model = Loose(anything=1)
    model._seen = value
    return model


@given(values)
def test_a_value_is_the_same_as_its_copy(value: Any) -> None:
    assert same(value, copy.deepcopy(value))


DIFFERENT = [
    (1, True),
    (1, 1.0),
    (0.0, -0.0),
    ("red", Color.RED),
    ([1], (1,)),
    ([1], [1, 2]),
    ((1, 2), Point(1, 2)),
    ({"a": 1}, {"a": True}),
    ({1: "a"}, {1.0: "a"}),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ({1}, {True}),
    ({1}, {1, 2}),
    ({1}, {2}),
    ({1}, frozenset({1})),
    (Decimal("1.0"), Decimal("1.00")),
    (moment(None), moment(dt.UTC)),
    (moment(BERLIN), moment(PARIS)),
    (moment(BERLIN), moment(dt.timezone(dt.timedelta(hours=2)))),
    (Item(sku="a"), Item(sku="b")),
    (Item(sku="a"), SpecialItem(sku="a")),
    (seen(1), seen(2)),
    (Open(known=1, more=1), Open(known=1, more=1.0)),  # type: ignore[call-arg]
    (Frozen(1, [1]), Frozen(1, [True])),
    (Frozen(1), Line(Point(1))),
    (object(), object()),
]


@pytest.mark.parametrize(("left", "right"), DIFFERENT, ids=case_name)
def test_different_values_or_types_are_not_the_same(left: Any, right: Any) -> None:
    assert not same(left, right)
    assert not same([left], [right])


def test_nan_is_the_same_as_nan() -> None:
    assert same([math.nan, Decimal("NaN")], [math.nan, Decimal("NaN")])


def test_the_class_of_a_fixed_offset_does_not_matter() -> None:
    assert same(moment(dt.UTC), moment(TzInfo(0)))


def test_a_field_that_is_never_dumped_does_not_count() -> None:
    assert same(Hiding(shown=1, secret="a"), Hiding(shown=1, secret="b"))


def test_what_a_dataclass_adds_to_its_fields_counts_but_not_what_it_caches() -> None:
    line, twin = Line(Point(1)), Line(Point(1))
    assert line.text
    assert same(line, twin)

    twin.calls += 1
    assert not same(line, twin)


def test_a_comparison_that_fails_tells_nothing() -> None:
    class Odd:
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            raise RuntimeError

    assert not same(Odd(), Odd())
