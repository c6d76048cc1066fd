"""What annotations ask for."""

from __future__ import annotations

import datetime as dt
import logging
import typing
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Annotated, Any, Literal, Optional, Union

import pytest
import typing_extensions
from annotated_types import Gt
from pydantic import ValidationError

from edda.codec.hints import build_adapter, for_arguments, is_better_noted, is_checked, is_json
from tests.support.kinds import Address, Color, Frozen, Item, Level, Order, Pet, Point

JSON = [
    Any,
    object,
    int,
    None,
    dict,
    list[str],
    dict[str, Any],
    dict[str, list[int | None]],
    Optional[str],  # noqa: UP045 - both spellings
    Union[int, str],  # noqa: UP007 - both spellings
    Literal["a", 1],
    Mapping,
    Sequence[Mapping[str, int]],
]
NOT_JSON = [
    Item,
    dt.date,
    bytes,
    tuple[int, ...],
    set[str],
    dict[int, str],
    list[Item],
    Item | None,
    Literal[Color.RED],
    Literal[b"x"],
    Annotated[int, Gt(0)],
    Address,
    Point,
    "text",
]


@pytest.mark.parametrize("annotation", JSON, ids=str)
def test_json_conforms_to_some_annotations_as_it_is(annotation: Any) -> None:
    assert is_json(annotation)


@pytest.mark.parametrize("annotation", NOT_JSON, ids=str)
def test_others_restore_or_check_something(annotation: Any) -> None:
    assert not is_json(annotation)


def test_bytes_and_sets_are_noted_wherever_they_stand() -> None:
    assert all(map(is_better_noted, [bytes, list[bytes], set[str] | None, dict[str, frozenset[int]], set]))
    assert not any(map(is_better_noted, [Item, list[int], dt.date, Literal[b"x"], None]))


def test_shapes_and_constraints_are_checked() -> None:
    shapes = [Item, list[Item] | None, Frozen, Color, Address, Pet, dict[Level, int], Annotated[int, Gt(0)]]
    assert all(map(is_checked, shapes))
    assert not any(map(is_checked, [int, dt.date, list[str], dict[str, Any], tuple[int, ...], Any]))


def test_an_annotation_that_pydantic_cannot_handle_counts_as_none(caplog: pytest.LogCaptureFixture) -> None:
    class Foreign:
        pass

    with caplog.at_level(logging.DEBUG):
        assert build_adapter(Foreign) is None
    assert "are treated as not annotated" in caplog.text


@pytest.mark.parametrize(
    ("annotation", "given", "expected"),
    [
        (Color, "red", Color.RED),
        (Color, "RED", Color.RED),
        (Color, "Green", Color.GREEN),
        (list[Color] | None, ["GREEN"], [Color.GREEN]),
        (dict[str, Color], {"a": "red"}, {"a": Color.RED}),
        (tuple[Color, ...], ["green"], (Color.GREEN,)),
        (Level, 2, Level.HIGH),
        (Level, "high", Level.HIGH),
        (Color, Color.RED, Color.RED),
    ],
    ids=repr,
)
def test_an_enum_is_found_by_value_then_name_then_upper_cased_name(
    annotation: Any, given: Any, expected: Any
) -> None:
    adapter = build_adapter(for_arguments(annotation))

    assert adapter is not None
    assert adapter.validate_python(given) == expected


def test_a_member_by_value_goes_before_one_by_name() -> None:
    class Swapped(Enum):
        A = "B"
        B = "A"

    adapter = build_adapter(for_arguments(Swapped))

    assert adapter is not None
    assert adapter.validate_python("A") is Swapped("A")


def test_typed_dicts_of_both_origins_can_be_handled() -> None:
    class Partial(typing.TypedDict, total=False):
        when: typing.Required[dt.date]
        more: Annotated[int, Gt(0)]
        inner: Address

    class Extended(typing_extensions.TypedDict):
        when: dt.date

    for annotation in (Address, list[Address], Extended, Partial, Order):
        assert build_adapter(annotation) is not None
    adapter = build_adapter(list[Partial])
    assert adapter is not None
    day = dt.date(2024, 2, 29)
    assert adapter.validate_json('[{"when": "2024-02-29"}]') == [{"when": day}]
    inner = {"street": "x", "since": day}
    assert adapter.validate_python([{"when": day, "inner": inner}]) == [{"when": day, "inner": inner}]
    for refused in ({"more": 1}, {"when": day, "more": 0}):
        with pytest.raises(ValidationError):
            adapter.validate_python([refused])


def test_annotations_without_anything_to_change_stay_the_same_object() -> None:
    for annotation in (list[int], Item, Pet, Literal["a"], dict[str, Item] | None):
        assert for_arguments(annotation) is annotation
