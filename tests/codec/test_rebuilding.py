"""Exceptions put together again without their own constructors."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from edda.codec.rebuilding import attributes_of, complete_args, new_error, set_attribute
from tests.support.failures import Closed, Declined, Described, Group, Slotted, Unreachable
from tests.support.kinds import Cat, Dog, Item


def rebuilt(error: BaseException) -> BaseException:
    twin = new_error(type(error), complete_args(error))
    for name, value in attributes_of(error).items():
        set_attribute(twin, name, value)
    return twin


def raised_by(statement: str) -> BaseException:
    with pytest.raises(Exception) as raised:
        exec(statement, {"json": json})  # noqa: S102 - the errors of the interpreter itself
    return raised.value


ERRORS: list[BaseException] = [
    ValueError("no"),
    ValueError(),
    KeyError("x"),
    Declined(51, reason="no money"),
    Described(1, "y"),
    Slotted(7),
    Unreachable("db"),
    OSError(2, "No such file", "a.txt"),
    OSError(18, "Cross-device link", "a", None, "b"),
    OSError("only text"),
    ImportError("no module", name="x", path="/x"),
    StopIteration(5),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    Closed("secret"),
    raised_by("json.loads('{')"),
    raised_by("int('x')"),
    raised_by("{}['a']"),
    raised_by("nope"),
    raised_by("None.nope"),
    raised_by("compile('(', 'f', 'exec')"),
    raised_by("import no_such_module"),
    raised_by("open('/no/such/file')"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: f"{type(error).__name__}-{error}")
def test_type_arguments_text_and_attributes_are_the_same(error: BaseException) -> None:
    twin = rebuilt(error)

    assert type(twin) is type(error)
    assert (twin.args, str(twin)) == (error.args, str(error))
    assert attributes_of(twin) == attributes_of(error)
    for name in ("errno", "strerror", "filename", "filename2", "value", "lineno", "encoding", "pos", "path"):
        assert getattr(twin, name, None) == getattr(error, name, None)


def test_attributes_are_those_of_the_object_and_the_hidden_ones() -> None:
    assert attributes_of(Declined(51, reason="x")) == {"code": 51, "reason": "x"}
    assert attributes_of(Slotted(7)) == {"code": 7}
    assert attributes_of(ImportError("no", name="m")) == {"name": "m"}
    noted = ValueError()
    noted.add_note("a note is no attribute")
    assert attributes_of(noted) == {}


def test_special_attributes_cannot_be_set() -> None:
    error = ValueError("x")

    for name in ("__class__", "__dict__", "__traceback__", "__notes__", "a/b"):
        set_attribute(error, name, "y")

    assert vars(error) == {}


def test_an_attribute_that_the_class_no_longer_allows_is_left_out() -> None:
    class Derived(Exception):
        @property
        def code(self) -> int:
            return 5

    error = Derived()
    set_attribute(error, "code", 6)

    assert error.code == 5


def test_a_group_has_its_members() -> None:
    members = [ValueError(1), KeyError("x")]

    twin = new_error(Group, ("several", members))

    assert isinstance(twin, Group)
    assert (twin.message, twin.exceptions) == ("several", tuple(members))


class Checked(BaseModel):
    number: int
    even: int = 0
    short: str = ""
    pet: Cat | Dog | None = None

    @field_validator("even")
    @classmethod
    def _even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("must be even {really}")
        return value

    @field_validator("short")
    @classmethod
    def _short(cls, value: str) -> str:
        if len(value) > 1:
            raise PydanticCustomError("length", "at most {n} letters", {"n": 1})
        return value


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"number": "x"},
        {"number": 1, "even": 1},
        {"number": 1, "short": "abc"},
        {"number": 1.5, "pet": {"lives": "x"}},
    ],
)
def test_an_error_of_pydantic_keeps_text_place_and_input(data: Any) -> None:
    with pytest.raises(ValidationError) as raised:
        Checked.model_validate(data)

    twin = rebuilt(raised.value)

    assert isinstance(twin, ValidationError)
    assert str(twin) == str(raised.value)
    keys = ("type", "loc", "msg", "input")
    lines = [[line[key] for key in keys] for line in raised.value.errors()]  # type: ignore[literal-required]
    assert [[line[key] for key in keys] for line in twin.errors()] == lines  # type: ignore[literal-required]


def test_arguments_that_the_class_does_not_take_are_a_type_error() -> None:
    with pytest.raises(TypeError):
        new_error(UnicodeDecodeError, ("too few",))
    with pytest.raises(TypeError):
        new_error(ValidationError, (Item,))
