"""Objects taken apart and put together without their constructors."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from pydantic import BaseModel, PrivateAttr

from edda.codec.state import from_state, has_state, take_state
from tests.support.kinds import Counting, Frozen, Hiding, Item, Line, Loose, Open, Point


def test_models_and_dataclasses_have_a_state() -> None:
    assert [has_state(cls) for cls in (Item, Line, Frozen, int, Point)] == [True, True, True, False, False]


def test_a_dataclass_that_is_also_something_else_has_none() -> None:
    @dataclass
    class Failure(Exception):
        code: int

    assert not has_state(Failure)


def test_the_state_of_a_model_is_fields_extras_and_private_attributes() -> None:
    model = Loose(anything=[1])
    model._seen = 5

    assert take_state(model) == {"anything": [1], "_seen": 5}
    assert take_state(Open(known=1, more=2)) == {"known": 1, "more": 2}  # type: ignore[call-arg]


def test_an_excluded_field_is_not_part_of_it_and_comes_back_as_its_default() -> None:
    state = take_state(Hiding(shown=1, secret="s"))

    assert state == {"shown": 1}
    assert from_state(Hiding, state) == Hiding(shown=1)


def test_the_state_of_a_dataclass_is_what_it_holds_but_does_not_cache() -> None:
    line = Line(Point(1))
    assert line.text

    assert set(take_state(line)) == {"start", "length", "tags", "calls"}


def test_neither_validator_nor_constructor_runs() -> None:
    line = from_state(Line, {"start": Point(1), "calls": 7})

    assert (line.calls, line.length, line.tags) == (7, 1, [])
    assert from_state(Counting, {"count": 3}).count == 3
    assert from_state(Frozen, {"a": 1}) == Frozen(1)


def test_a_rebuilt_model_is_as_good_as_any() -> None:
    model = from_state(Loose, {"anything": 1})

    assert model == Loose(anything=1)
    assert model._seen == 0
    assert from_state(Open, {"known": 1, "more": 2}) == Open(known=1, more=2)  # type: ignore[call-arg]
    assert from_state(Item, {"sku": "a", "gone": 1}).model_dump()["sku"] == "a"


def test_private_attributes_without_default_stay_unset() -> None:
    class Secretive(BaseModel):
        _set: int = PrivateAttr(default_factory=lambda: 4)
        _unset: int = PrivateAttr()

    model = from_state(Secretive, {})

    assert model == Secretive()
    assert model._set == 4


def test_a_new_field_without_default_is_an_error() -> None:
    @dataclass
    class Derived:
        given: int
        made: int = field(init=False)

    with pytest.raises(ValueError, match="no value is stored for the field 'sku' of Item"):
        from_state(Item, {})
    with pytest.raises(ValueError, match="no value is stored for the field 'given'"):
        from_state(Derived, {})
    assert not hasattr(from_state(Derived, {"given": 1}), "made")
