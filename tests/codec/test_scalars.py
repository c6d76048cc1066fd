"""Single values as text, and back."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edda.codec.sameness import same
from edda.codec.scalars import from_text, is_text_note, to_text
from tests.support.kinds import aware_or_naive

BERLIN = ZoneInfo("Europe/Berlin")

EXAMPLES = [
    (dt.datetime(2024, 2, 29, 12, 30, tzinfo=dt.UTC), "2024-02-29T12:30:00+00:00", "datetime"),
    (dt.datetime(2024, 2, 29, 12, 30), "2024-02-29T12:30:00", "datetime"),  # noqa: DTZ001 - naive on purpose
    (dt.datetime(2024, 7, 1, tzinfo=BERLIN), "2024-07-01T00:00:00+02:00", "datetime@Europe/Berlin"),
    (dt.date(2024, 2, 29), "2024-02-29", "date"),
    (dt.time(1, 2, 3, 4), "01:02:03.000004", "time"),
    (dt.time(1, 2, tzinfo=BERLIN), "01:02:00", "time@Europe/Berlin"),
    (dt.timedelta(days=400, seconds=3, microseconds=70), "P400DT3.00007S", "timedelta"),
    (dt.timedelta(microseconds=-1), "-P0DT0.000001S", "timedelta"),
    (dt.timedelta.min, "-P999999999DT0S", "timedelta"),
    (dt.timedelta.max, "P999999999DT86399.999999S", "timedelta"),
    (Decimal("1.50"), "1.50", "Decimal"),
    (UUID(int=1), "00000000-0000-0000-0000-000000000001", "UUID"),
    (b"\xfb\xff\xfe", "+//+", "bytes"),
]


@pytest.mark.parametrize(("value", "text", "note"), EXAMPLES)
def test_the_text_is_standard_and_comes_back(value: Any, text: str, note: str) -> None:
    assert to_text(value, type(value)) == (text, note)
    assert same(from_text(note, text), value)
    assert is_text_note(note)


@given(
    aware_or_naive
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.decimals()
    | st.uuids()
    | st.binary(max_size=9)
)
def test_every_value_comes_back(value: Any) -> None:
    text, note = to_text(value, type(value))

    assert same(from_text(note, text), value)


@pytest.mark.parametrize("fold", [0, 1])
@pytest.mark.parametrize("day", [dt.datetime(2024, 10, 27, 2, 30), dt.datetime(2024, 3, 31, 2, 30)])  # noqa: DTZ001
def test_repeated_and_skipped_hours_keep_their_pass(day: dt.datetime, fold: int) -> None:
    value = day.replace(tzinfo=BERLIN, fold=fold)

    restored = from_text(*reversed(to_text(value, dt.datetime)))

    assert (restored.fold, restored.tzinfo, restored.utcoffset()) == (fold, BERLIN, value.utcoffset())


def test_the_instant_stays_when_the_rules_of_a_zone_have_changed() -> None:
    restored = from_text("datetime@Europe/Berlin", "2024-07-01T00:00:00+05:00")

    assert restored == dt.datetime(2024, 7, 1, tzinfo=dt.timezone(dt.timedelta(hours=5)))
    assert restored.tzinfo is BERLIN


@pytest.mark.parametrize("zone", ["No/Where", "../../etc/passwd", "/etc/passwd"])
def test_an_unknown_zone_is_a_value_error(zone: str) -> None:
    with pytest.raises(ValueError, match="unknown time zone"):
        from_text(f"datetime@{zone}", "2024-07-01T00:00:00+02:00")


def test_other_notes_are_not_of_this_module() -> None:
    assert not is_text_note("tuple")
    assert not is_text_note("app.models:datetime")


def test_decimals_keep_sign_digits_and_kind_of_nan() -> None:
    for text in ("-0", "1E+5", "NaN", "sNaN", "-Infinity", "0.000"):
        assert str(from_text("Decimal", to_text(Decimal(text), Decimal)[0])) == text
    assert math.isnan(from_text("Decimal", "NaN"))
