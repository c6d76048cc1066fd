"""Typed values through the text of the database and back."""

from __future__ import annotations

import datetime as dt
import logging
import uuid
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, ValidationError
from typing_extensions import TypedDict

from edda.codec.json import dumps, loads
from edda.codec.sameness import same
from edda.codec.values import ArgumentCodec, Encoded, ValueCodec
from edda.exceptions import StoredValueError
from tests.support.kinds import (
    Address,
    Aliased,
    Cat,
    Color,
    Computed,
    Counting,
    Dog,
    Frozen,
    Hiding,
    Item,
    Level,
    Line,
    Loose,
    Open,
    Order,
    Page,
    Pet,
    Point,
    Shape,
    SpecialItem,
    UserId,
    orders,
    values,
)
from tests.support.naming import case_name

DAY = dt.date(2024, 2, 29)


def through_text(encoded: Encoded) -> Encoded:
    """As the database gives it back."""
    types = None if encoded.types is None else loads(dumps(encoded.types))
    return Encoded(loads(dumps(encoded.json)), types)  # type: ignore[arg-type]


def there_and_back(annotation: Any, value: Any) -> tuple[Encoded, Any]:
    codec = ValueCodec(annotation)
    stored = codec.dump(value, "result")
    restored = codec.load(through_text(stored))
    again = codec.dump(restored, "result")
    assert dumps([again.json, again.types]) == dumps([stored.json, stored.types])
    return stored, restored


@given(values)
@settings(deadline=None, max_examples=150)
def test_any_value_comes_back_without_an_annotation(value: Any) -> None:
    assert same(there_and_back(Any, value)[1], value)


ANNOTATIONS = [
    int,
    str,
    float,
    bytes,
    Item,
    Order,
    list,
    list[Item],
    dict[int, str],
    dict[str, Any],
    tuple[Any, ...],
    set[int],
    Point,
    Frozen,
    Color,
    dt.datetime,
    Decimal | None,
    Pet,
    Address,
]


@given(value=values, annotation=st.sampled_from(ANNOTATIONS))
@settings(deadline=None, max_examples=200)
def test_any_value_comes_back_under_any_annotation(value: Any, annotation: Any) -> None:
    assert same(there_and_back(annotation, value)[1], value)


@given(st.lists(orders, max_size=2))
@settings(deadline=None, max_examples=50)
def test_models_come_back_under_their_annotation(value: list[Order]) -> None:
    assert same(there_and_back(list[Order], value)[1], value)


class Pair(NamedTuple):
    left: int
    right: dt.date


class Wish(TypedDict, total=False):
    when: dt.date


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)
    when: dt.datetime
    key: uuid.UUID


ANNOTATED: list[tuple[Any, Any, Any]] = [
    (Order, Order(id=1, items=[Item(sku="a")], due=DAY), None),
    (Order | None, None, None),
    (list[Item], [Item(sku="a")], [{"sku": "a", "quantity": 1, "price": "9.99"}]),
    (dict[int, Item], {1: Item(sku="a")}, {"1": {"sku": "a", "quantity": 1, "price": "9.99"}}),
    (dict[Level, dt.date], {Level.LOW: DAY}, {"1": "2024-02-29"}),
    (tuple[int, ...], (1, 2), [1, 2]),
    (Pair, Pair(1, DAY), [1, "2024-02-29"]),
    (Wish, {"when": DAY}, {"when": "2024-02-29"}),
    (Address, {"street": "x", "since": DAY}, {"street": "x", "since": "2024-02-29"}),
    (Frozen, Frozen(1, "x"), {"a": 1, "b": "x"}),
    (list[Pet], [Cat(lives=3), Dog(tricks=["sit"])], None),
    (Cat | Dog, Dog(), {"kind": "dog", "tricks": []}),
    (Page[Item], Page[Item](items=[Item(sku="a")]), None),
    (Page[Page[int]], Page[Page[int]](items=[Page[int](items=[1])]), {"items": [{"items": [1]}]}),
    (Line, Line(Point(1)), {"start": [1, 0], "length": "1", "tags": []}),
    (Color, Color.GREEN, "green"),
    (Level, Level.HIGH, 2),
    (dt.datetime, dt.datetime(2024, 2, 29, 12, tzinfo=dt.UTC), "2024-02-29T12:00:00Z"),
    (Decimal, Decimal("1.50"), "1.50"),
    (uuid.UUID, uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (int | str, "1", "1"),
    (Aliased, Aliased(orderNumber=1, **{"in": "x"}), {"number": 1, "text": "x"}),
    (Computed, Computed(side=2), {"side": 2}),
    (Open, Open(known=1, more=[2]), {"known": 1, "more": [2]}),  # type: ignore[call-arg]
    (Strict, Strict(when=dt.datetime(2024, 1, 1, tzinfo=dt.UTC), key=uuid.UUID(int=1)), None),
    (OrderedDict[str, int], OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
    (Sequence[Item], [Item(sku="a")], None),
    (Mapping[str, dt.date], {"a": DAY}, {"a": "2024-02-29"}),
]


@pytest.mark.parametrize(("annotation", "value", "json"), ANNOTATED, ids=[str(each[0]) for each in ANNOTATED])
def test_an_annotation_that_gives_the_type_back_needs_no_note(annotation: Any, value: Any, json: Any) -> None:
    stored, restored = there_and_back(annotation, value)

    assert stored.types is None
    assert same(restored, value)
    if json is not None:
        assert stored.json == json


@pytest.mark.parametrize("annotation", [Any, dict[str, Any], list[dict[str, int]], int, str | None])
def test_plain_json_needs_neither_annotation_nor_note(annotation: Any) -> None:
    value: Any = {"a": [1, 2.5, None, "é"], "ok": True}

    assert ValueCodec(annotation).dump(value, "result") == Encoded(value, None)


def counted(line: Line) -> Line:
    """A dataclass that its own constructor would not make."""
    line.calls += 1
    return line


NOTED: list[tuple[Any, Any, Any]] = [
    (Item, SpecialItem(sku="a"), {"": "tests.support.kinds:SpecialItem"}),
    (Item, {"sku": "a"}, {"": "json"}),
    (list[Item], [SpecialItem(sku="a")], {"/0": "tests.support.kinds:SpecialItem"}),
    (Order, Item(sku="a"), {"": "tests.support.kinds:Item"}),
    (dt.date, "2024-02-29", {"": "json"}),
    (Decimal, 1.5, {"": "json"}),
    (int, (1, 2), {"": "tuple"}),
    (list[int], (1, 2), {"": "tuple"}),
    (str, Color.RED, {"": "tests.support.kinds:Color"}),
    (str, UserId("u"), {"": "tests.support.kinds:UserId"}),
    (float, float("inf"), {"": "float"}),
    (Color, "red", {"": "json"}),
    (Shape, Shape.LINE, {"": "name@tests.support.kinds:Shape"}),
    (set[str], {"b", "a"}, {"": "set"}),
    (set[str], ["a"], {"": "json"}),
    (bytes, b"\xff", {"": "bytes"}),
    (list[bytes], [b"\xff"], {"/0": "bytes"}),
    (Counting, Counting(count=1), {"": "state@tests.support.kinds:Counting"}),
    (
        dt.datetime,
        dt.datetime(2024, 7, 1, tzinfo=ZoneInfo("Europe/Berlin")),
        {"": "datetime@Europe/Berlin"},
    ),
    (
        Line,
        counted(Line(Point(1))),
        {"": "tests.support.kinds:Line", "/start": "tests.support.kinds:Point", "/length": "Decimal"},
    ),
]


@pytest.mark.parametrize(
    ("annotation", "value", "types"), NOTED, ids=[f"{each[0]}-{case_name(each[1])}" for each in NOTED]
)
def test_a_value_that_does_not_match_its_annotation_stays_as_it_was(
    annotation: Any, value: Any, types: Any
) -> None:
    stored, restored = there_and_back(annotation, value)

    assert stored.types == types
    assert same(restored, value)


def test_the_mismatch_is_said_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        ValueCodec(Item).dump(1, "result")

    assert "result does not match" in caplog.text


def test_an_excluded_field_is_not_written_down() -> None:
    stored, restored = there_and_back(Hiding, Hiding(shown=1, secret="s"))

    assert stored == Encoded({"shown": 1}, None)
    assert restored == Hiding(shown=1)


def test_private_attributes_come_back() -> None:
    model = Loose(anything=1)
    model._seen = (1, 2)

    for annotation in (Loose, Any):
        assert there_and_back(annotation, model)[1] == model


def test_a_value_of_a_type_without_schema_is_treated_as_not_annotated() -> None:
    class Foreign:
        pass

    assert there_and_back(Foreign, (1,))[1] == (1,)
    with pytest.raises(TypeError, match=r"^result: a value of type .*Foreign cannot be stored$"):
        ValueCodec(Foreign).dump(Foreign(), "result")


def test_a_key_named_like_an_error_is_a_key() -> None:
    assert there_and_back(Any, {"_error": True})[1] == {"_error": True}


def test_later_changes_of_the_value_do_not_reach_what_was_stored() -> None:
    value: dict[str, Any] = {"a": [1], "b": (1,)}
    plain: dict[str, Any] = {"a": [1]}
    stored, stored_plain = ValueCodec().dump(value, "result"), ValueCodec().dump(plain, "result")

    value["a"].append(2)
    plain["a"].append(2)

    assert stored.json == {"a": [1], "b": [1]}
    assert stored_plain.json == {"a": [1]}


def test_json_that_the_annotation_no_longer_takes_is_one_clear_error() -> None:
    with pytest.raises(StoredValueError, match=r"no longer matches .*Item"):
        ValueCodec(Item).load(Encoded({"name": "a"}))


def test_json_of_an_unannotated_time_is_restored_once_there_is_an_annotation() -> None:
    assert ValueCodec(Item).load(Encoded({"sku": "a"})) == Item(sku="a")


@pytest.mark.parametrize(
    ("annotation", "value", "restored"),
    [
        (dt.date, "2024-02-29", DAY),
        (Item, {"sku": "a"}, Item(sku="a")),
        (Item | None, None, None),
        (list[Item], [{"sku": "a"}], [Item(sku="a")]),
        (Color, "RED", Color.RED),
        (set[str], ["a"], {"a"}),
        (bytes, "abc", b"abc"),
        (Decimal, 1.5, Decimal("1.5")),
        (dict[int, str], {"1": "a"}, {1: "a"}),
        (Frozen, {"a": 1}, Frozen(1)),
        (Aliased, {"orderNumber": 1, "in": "x"}, Aliased(orderNumber=1, **{"in": "x"})),
        (Order, {"id": 1, "due": DAY}, Order(id=1, due=DAY)),
        (Address, {"street": "x", "since": "2024-02-29"}, {"street": "x", "since": DAY}),
        # What is no shape and does not match stays as it is.
        (int, "five", "five"),
        (int, "5", "5"),
        (dt.date, "tomorrow", "tomorrow"),
        (tuple[int, int], [1], [1]),
        (list[dt.date], ["x"], ["x"]),
        (float, 1, 1),
    ],
    ids=case_name,
)
def test_arguments_from_outside_are_restored_to_the_annotation(
    annotation: Any, value: Any, restored: Any
) -> None:
    codec = ArgumentCodec(annotation)

    assert same(codec.load(through_text(codec.dump(value, "input.x"))), restored)


@given(value=values, annotation=st.sampled_from([Any, dict, int, Color | Any]))
@settings(deadline=None, max_examples=50)
def test_arguments_without_a_conversion_come_back(value: Any, annotation: Any) -> None:
    codec = ArgumentCodec(annotation)

    assert same(codec.load(through_text(codec.dump(value, "input.x"))), value)


@pytest.mark.parametrize(("annotation", "value", "json"), ANNOTATED, ids=[str(each[0]) for each in ANNOTATED])
def test_arguments_that_match_come_back(annotation: Any, value: Any, json: Any) -> None:
    codec = ArgumentCodec(annotation)

    assert same(codec.load(through_text(codec.dump(value, "input.x"))), value)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Item, {}),
        (Item, None),
        (list[Item], [{}]),
        (Frozen, {}),
        (Color, "blue"),
        (Address, {}),
        (Order, {"id": "x", "due": DAY}),
    ],
    ids=case_name,
)
def test_arguments_that_do_not_fit_a_shape_are_refused(annotation: Any, value: Any) -> None:
    codec = ArgumentCodec(annotation)

    with pytest.raises(ValidationError):
        codec.load(codec.dump(value, "input.x"))
