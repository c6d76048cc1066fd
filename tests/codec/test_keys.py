"""Keys of dicts as the names of a JSON object."""

from __future__ import annotations

import datetime as dt
from enum import Enum
from typing import Any
from uuid import UUID

import pytest

from edda.codec.keys import key_reader, key_text
from tests.support.kinds import Color, Level, Rights, Shape


class Ambiguous(Enum):
    NUMBER = 1
    TEXT = "1"


@pytest.mark.parametrize(
    ("keys", "texts", "note"),
    [
        ([1, -2], ["1", "-2"], "int"),
        ([Color.RED], ["red"], "tests.support.kinds:Color"),
        ([Level.LOW, Level.HIGH], ["1", "2"], "tests.support.kinds:Level"),
        ([dt.date(2024, 1, 1)], ["2024-01-01"], "date"),
        ([UUID(int=0)], ["00000000-0000-0000-0000-000000000000"], "UUID"),
    ],
)
def test_keys_of_one_kind_become_names(keys: list[Any], texts: list[str], note: str) -> None:
    assert key_text(keys) == (texts, note)
    assert list(map(key_reader(note), texts)) == keys


@pytest.mark.parametrize(
    "keys",
    [
        [],
        [1, "a"],
        [1, True],
        [None],
        [1.5],
        [(1,)],
        [Color.RED, Level.LOW],
        [Ambiguous.TEXT],
        [Rights.READ | Rights.WRITE],
        ["a"],
    ],
    ids=repr,
)
def test_keys_of_several_kinds_or_without_a_text_do_not(keys: list[Any]) -> None:
    assert key_text(keys) is None


def test_an_enum_of_tuples_has_names_as_well() -> None:
    texts, note = key_text([Shape.LINE]) or ([], "")

    assert key_reader(note)(texts[0]) is Shape.LINE


def test_an_unknown_note_is_a_value_error() -> None:
    for note in ("tests.support.kinds:Item", "nope", "builtins:int"):
        with pytest.raises(ValueError, match="no enum"):
            key_reader(note)
