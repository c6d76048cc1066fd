"""Values by their notes; what is no longer there is said clearly."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from edda.codec.json import dumps, loads
from edda.codec.readers import read
from edda.codec.sameness import same
from edda.codec.writers import write
from edda.exceptions import StoredValueError
from tests.support.kinds import Color, Counting, Point, Rights, Shape, UserId, values

KINDS = "tests.support.kinds:"


@given(values)
@settings(deadline=None, max_examples=200)
def test_every_value_that_was_written_is_read_as_it_was(value: Any) -> None:
    json, notes = write(value, "result")

    restored = read(loads(dumps(json)), loads(dumps(notes)))  # type: ignore[arg-type]

    assert same(restored, value)


@given(values)
@settings(deadline=None, max_examples=50)
def test_writing_again_gives_the_same_text(value: Any) -> None:
    first = write(value, "result")
    second = write(read(*first), "result")

    assert dumps(list(second)) == dumps(list(first))


@pytest.mark.parametrize(
    ("json", "notes", "value"),
    [
        ("LINE", {"": f"name@{KINDS}Shape"}, Shape.LINE),
        (3, {"": f"{KINDS}Rights"}, Rights.READ | Rights.WRITE),
        ({"red": [1]}, {"": f"dict[{KINDS}Color]", "/red": "tuple"}, {Color.RED: (1,)}),
        ([1, 2], {"": f"{KINDS}Point"}, Point(1, 2)),
        ("u", {"": f"{KINDS}UserId"}, UserId("u")),
        ({"count": 2}, {"": f"state@{KINDS}Counting"}, Counting(count=1)),
        ({"a": 1}, {"": "json"}, {"a": 1}),
    ],
)
def test_notes_are_read(json: Any, notes: Any, value: Any) -> None:
    assert same(read(json, notes), value)


def test_reading_does_not_change_the_json() -> None:
    json: Any = {"a": [[1], {"b": [2]}]}

    read(json, {"/a/0": "tuple", "/a/1/b": "set"})

    assert json == {"a": [[1], {"b": [2]}]}


BROKEN: list[tuple[Any, Any, str]] = [
    ([1], {"": "no.such.module:Thing"}, "the class 'no.such.module:Thing' of a stored value cannot be found"),
    ([1], {"": "list"}, "the class 'list' of a stored value cannot be found"),
    ([1], {"": "builtins:dict"}, "dict is not of a kind that can be stored"),
    ("x", {"": "builtins:eval"}, "cannot be found"),
    ("/etc", {"": "pathlib:PosixPath"}, "PosixPath is not of a kind that can be stored"),
    ("x", {"": "builtins:Exception"}, "Exception is not of a kind that can be stored"),
    ("blue", {"": f"{KINDS}Color"}, "cannot be restored: 'blue' is not a valid Color"),
    ({}, {"": f"{KINDS}Item"}, "cannot be restored: 1 validation error for Item"),
    ({}, {"": f"state@{KINDS}Item"}, "no value is stored for the field 'sku'"),
    ("2024-99-99", {"": "date"}, "the value at '' (date) cannot be restored"),
    ({"a": 1}, {"/b": "tuple"}, "cannot be restored"),
    ([1], {"/x": "tuple"}, "cannot be restored"),
    (1, {"/x/y": "tuple"}, "cannot be restored"),
    ([[1]], {"": "set"}, "unhashable"),
    (["x"], {"/0": 5}, "the note at '/0' is no text"),
    ({"x": 1}, {"": "dict[nope]"}, "no enum"),
]


@pytest.mark.parametrize(("json", "notes", "message"), BROKEN)
def test_what_cannot_be_restored_is_one_clear_error(json: Any, notes: Any, message: str) -> None:
    with pytest.raises(StoredValueError) as raised:
        read(json, notes)
    assert message in str(raised.value)
