"""Which inputs match, and what a page token may be."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edda.codec.json import dumps
from edda.searching import InputFilter, Place, Scalar
from tests.support.searching import search

VALUES = [True, False, 0, 1, 5, 5.0, 5.5, 10**20, 1e20, 10**400, "5", "true", "null", "", None, [5], {"a": 5}]


def is_same(found: object, value: object) -> bool:
    """Equal, and of the same JSON type."""
    numbers = [isinstance(each, int | float) and not isinstance(each, bool) for each in (found, value)]
    return found == value and (all(numbers) or type(found) is type(value))


@pytest.mark.parametrize("value", [value for value in VALUES if not isinstance(value, list | dict)], ids=repr)
@pytest.mark.parametrize("found", VALUES, ids=repr)
def test_values_match_by_json_type(value: Scalar, found: Any) -> None:
    assert InputFilter(("a", "b"), value).matches({"a": {"b": found}}) == is_same(found, value)


@pytest.mark.parametrize(
    "data", [{}, {"a": 1}, {"a": None}, {"a": [None]}, {"a": {}}, {"a": {"b": None}}, [1]]
)
def test_none_matches_null_and_what_is_missing(data: Any) -> None:
    assert InputFilter(("a", "b"), None).matches(data)
    assert not InputFilter(("a", "b"), "x").matches(data)


scalars = st.one_of(
    st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=20)
)


@given(
    scalars, st.dictionaries(st.text(max_size=3), st.one_of(st.none(), st.text()), max_size=2), st.booleans()
)
def test_what_matches_shows_a_sign_of_it(value: Any, others: dict[str, Any], is_respelled: bool) -> None:
    if is_respelled and isinstance(value, float) and value.is_integer():
        value = int(value)
    one = InputFilter(("order", "id"), float(value) if _is_small(value) and is_respelled else value)
    stored = dumps(others | {"order": {"id": value}})
    assert one.matches({"order": {"id": value}})
    assert any(sign in stored for sign in one.signs())


def _is_small(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53


def test_an_input_with_a_lone_surrogate_shows_a_sign_too() -> None:
    stored = dumps({"other": "\ud800", "name": "Jürgen"})
    assert any(sign in stored for sign in InputFilter(("name",), "Jürgen").signs())


@pytest.mark.parametrize("path", ["", "1a", "a-b", "a b", "a[0]", "$.a", "a'", 'a"', "ä", "a\n"])
def test_a_path_is_made_of_names_and_dots(path: str) -> None:
    with pytest.raises(ValueError, match="Invalid JSON path: "):
        search(input_filters={path: 1})


@pytest.mark.parametrize("value", [[1], {"a": 1}, b"x", float("nan"), float("inf"), UTC])
def test_only_plain_values_can_be_looked_for(value: object) -> None:
    with pytest.raises(ValueError, match=r"The value looked for at order\.id must be"):
        search(input_filters={"order.id": value})


def test_a_limit_below_one_and_an_unknown_status_are_refused() -> None:
    with pytest.raises(ValueError, match="limit must be at least 1, not 0"):
        search(limit=0)
    with pytest.raises(ValueError, match=r"Unknown status 'done'; there are: running, .*recurred"):
        search(status="done")


def test_a_time_without_zone_is_utc() -> None:
    assert search(started_after=datetime(2026, 1, 1)).started_after == datetime(2026, 1, 1, tzinfo=UTC)  # noqa: DTZ001


def test_a_token_stands_for_its_place() -> None:
    place = Place(datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC), "order-ü-1")
    assert search(page_token=place.token).after == place


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "ü",
        "AAAA",
        *(
            urlsafe_b64encode(text.encode()).decode()
            for text in (
                "[]",
                "{}",
                "[1,2]",
                '["2026-01-01T00:00:00","a"]',
                '["2026-01-01T00:00:00+00:00",1]',
                '["yesterday","a"]',
                "[" * 100_000,
            )
        ),
    ],
)
def test_a_token_that_is_none_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match=r"^Invalid page token$"):
        search(page_token=token)
