"""Payloads leave as JSON or as bytes, and come back equal."""

from __future__ import annotations

from enum import Enum
from typing import Any

import pytest
from pydantic import BaseModel

from edda.codec.payloads import dump_payload, load_payload, plain_payload
from edda.types import DataForm


class Colour(Enum):
    RED = "red"


class Item(BaseModel):
    name: str
    colour: Colour = Colour.RED


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ({"a": [1, 2.5, None, True]}, {"a": [1, 2.5, None, True]}),
        (None, None),
        ("text", "text"),
        (Item(name="pen"), {"name": "pen", "colour": "red"}),
        ([Item(name="pen")], [{"name": "pen", "colour": "red"}]),
        ((1, {2}), [1, [2]]),
        (b"\x00", b"\x00"),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"ab"), b"ab"),
    ],
)
def test_values_leave_in_their_plain_form_and_come_back_in_it(value: Any, plain: Any) -> None:
    assert plain_payload(value, "data") == plain
    text, form = dump_payload(plain_payload(value, "data"))
    assert form is (DataForm.BASE64 if isinstance(plain, bytes) else DataForm.JSON)
    assert load_payload(text, form) == plain


def test_what_has_no_plain_form_is_named() -> None:
    with pytest.raises(TypeError, match=r"event_data\.items\[1\]"):
        plain_payload({"items": [1, object()]}, "event_data")
