"""The plain JSON and the notes of values without an annotation."""

from __future__ import annotations

import datetime as dt
import math
import socket
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from asyncpg.pgproto import pgproto
from pydantic import BaseModel, PrivateAttr, SecretStr

from edda.codec.json import MAX_DEPTH
from edda.codec.writers import write
from tests.support.kinds import (
    Color,
    Computed,
    Counting,
    Frozen,
    Hiding,
    Item,
    Level,
    Loose,
    Open,
    Point,
    Rights,
    Shape,
    SpecialItem,
    UserId,
)
from tests.support.naming import case_name

KINDS = "tests.support.kinds:"
DAY = dt.date(2024, 2, 29)


class Odd(Enum):
    NAN = math.nan
    NUL = "\0"


EXAMPLES: list[tuple[Any, Any, dict[str, str]]] = [
    ({"a": [1, None, True, 1.5, "x"]}, {"a": [1, None, True, 1.5, "x"]}, {}),
    ((1, (2,)), [1, [2]], {"": "tuple", "/1": "tuple"}),
    ({"b", "a"}, ["a", "b"], {"": "set"}),
    (frozenset({2, 1}), [1, 2], {"": "frozenset"}),
    (
        [DAY, b"\xff", Decimal("1.50")],
        ["2024-02-29", "/w==", "1.50"],
        {"/0": "date", "/1": "bytes", "/2": "Decimal"},
    ),
    ([math.nan, -math.inf], ["NaN", "-Infinity"], {"/0": "float", "/1": "float"}),
    ({"a/b": {"~": (1,)}}, {"a/b": {"~": [1]}}, {"/a~1b/~0": "tuple"}),
    ("a\0\\", "a\\x00\\\\", {"": "str"}),
    ("\ud800", "\\ud800", {"": "str"}),
    ({1: "a"}, {"1": "a"}, {"": "dict[int]"}),
    ({Color.RED: (1,)}, {"red": [1]}, {"": f"dict[{KINDS}Color]", "/red": "tuple"}),
    ({1: "a", "1": "b"}, [[1, "a"], ["1", "b"]], {"": "dict"}),
    ({(1,): DAY}, [[[1], "2024-02-29"]], {"": "dict", "/0/0": "tuple", "/0/1": "date"}),
    ({"\0": 1}, [["\\x00", 1]], {"": "dict", "/0/0": "str"}),
    (Color.RED, "red", {"": f"{KINDS}Color"}),
    (Level.HIGH, 2, {"": f"{KINDS}Level"}),
    (Shape.LINE, "LINE", {"": f"name@{KINDS}Shape"}),
    (Rights.READ | Rights.WRITE, 3, {"": f"{KINDS}Rights"}),
    (UserId("u1"), "u1", {"": f"{KINDS}UserId"}),
    (Point(1, DAY), [1, "2024-02-29"], {"": f"{KINDS}Point", "/1": "date"}),
    (Frozen(1, DAY), {"a": 1, "b": "2024-02-29"}, {"": f"{KINDS}Frozen", "/b": "date"}),
    (Item(sku="a"), {"sku": "a", "quantity": 1, "price": "9.99"}, {"": f"{KINDS}Item"}),
    (Computed(side=2), {"side": 2}, {"": f"{KINDS}Computed"}),
    (Hiding(shown=1, secret="s"), {"shown": 1}, {"": f"{KINDS}Hiding"}),
    (Open(known=1, more=[2]), {"known": 1, "more": [2]}, {"": f"{KINDS}Open"}),  # type: ignore[call-arg]
    (Counting(count=1), {"count": 2}, {"": f"state@{KINDS}Counting"}),
    (
        Loose(anything=DAY),
        {"anything": "2024-02-29", "_seen": 0},
        {"": f"state@{KINDS}Loose", "/anything": "date"},
    ),
]


@pytest.mark.parametrize(("value", "json", "notes"), EXAMPLES, ids=case_name)
def test_json_is_plain_and_notes_say_what_it_lost(value: Any, json: Any, notes: dict[str, str]) -> None:
    assert write(value, "result") == (json, notes)


@pytest.mark.parametrize("member", Odd)
def test_a_member_whose_value_json_cannot_carry_goes_by_its_name(member: Odd) -> None:
    assert write(member, "result") == (member.name, {"": f"name@{__name__}:Odd"})


@pytest.mark.parametrize(
    ("value", "base"),
    [
        (OrderedDict(a=1), {"a": 1}),
        (Counter("aab"), {"a": 2, "b": 1}),
        (defaultdict(list, a=[1]), {"a": [1]}),
        (type("Names", (list,), {})(["a"]), ["a"]),
    ],
)
def test_a_subclass_of_a_container_is_stored_as_the_container(value: Any, base: Any) -> None:
    assert write(value, "result") == (base, {})


def test_the_uuid_of_a_driver_is_stored_as_a_uuid() -> None:
    text = "00000000-0000-0000-0000-000000000001"

    assert write([pgproto.UUID(text)], "result") == ([text], {"/0": "UUID"})
    assert write({UUID(text): 1}, "result") == ({text: 1}, {"": "dict[UUID]"})


def test_a_subclass_of_text_with_attributes_is_stored_as_text() -> None:
    class Marked(str):  # noqa: SLOT000 - its attributes are the point
        pass

    value = Marked("x")
    value.mark = 1  # type: ignore[attr-defined]

    assert write(value, "result") == ("x", {})


@dataclass
class Job:
    items: list[Any]


class Holder(BaseModel):
    held: Any
    _lock: Any = PrivateAttr(default=None)


REFUSED: list[tuple[Any, str]] = [
    (
        {"items": [0, 0, 0, {"socket": socket.socket}]},
        "result.items[3].socket: a value of type type cannot be stored",
    ),
    (Job([object()]), "result.items[0]: a value of type object cannot be stored"),
    (
        Holder(held={"a b": print}),
        "result.held['a b']: a value of type builtin_function_or_method cannot be stored",
    ),
    ({(1,): [object()]}, "result[0][1][0]: a value of type object cannot be stored"),
    (deque([1]), "result: a value of type collections.deque cannot be stored"),
    (SecretStr("s"), "result: a value of type pydantic.types.SecretStr cannot be stored"),
    (ValueError("no"), "result: a value of type ValueError cannot be stored"),
    (Item, "result: a value of type pydantic._internal._model_construction.ModelMetaclass cannot be stored"),
    (1j, "result: a value of type complex cannot be stored"),
    (bytearray(), "result: a value of type bytearray cannot be stored"),
]


@pytest.mark.parametrize(("value", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_anything_else_is_a_type_error_that_names_the_place(value: Any, message: str) -> None:
    with pytest.raises(TypeError) as raised:
        write(value, "result")
    assert str(raised.value) == message


def test_a_subclass_that_is_not_equal_to_its_base_is_refused() -> None:
    class Picky(list[int]):
        __hash__ = None

        def __eq__(self, other: object) -> bool:
            return self is other

        def __ne__(self, other: object) -> bool:
            return self is not other

    with pytest.raises(TypeError, match="Picky cannot be stored"):
        write(Picky(), "result")


def test_a_value_that_contains_itself_is_refused() -> None:
    circle: dict[str, Any] = {}
    circle["again"] = [circle]

    with pytest.raises(
        TypeError, match=r"^result\.again\[0\]: a value that contains itself cannot be stored$"
    ):
        write(circle, "result")


def test_a_value_may_occur_twice() -> None:
    twice = (1,)

    assert write([twice, twice], "result") == ([[1], [1]], {"/0": "tuple", "/1": "tuple"})


def test_a_value_nested_too_deeply_is_refused() -> None:
    deep: Any = ()
    for _ in range(MAX_DEPTH - 1):
        deep = [deep]

    assert write(deep, "result")[1] == {"/0" * (MAX_DEPTH - 1): "tuple"}
    with pytest.raises(
        TypeError, match=f"^result: a value nested deeper than {MAX_DEPTH} levels cannot be stored$"
    ):
        write([deep], "result")


def test_private_attributes_are_kept_where_they_can_be_stored() -> None:
    model = Holder(held=1)
    model._lock = object()

    assert write(model, "result") == ({"held": 1}, {"": f"state@{__name__}:Holder"})


def test_the_elements_of_a_set_stand_in_an_order_that_processes_share() -> None:
    assert write({"b", "a", 2, 10}, "result")[0] == [10, 2, "a", "b"]


def test_a_special_item_inside_items_keeps_its_class() -> None:
    _, notes = write([Item(sku="a"), SpecialItem(sku="b")], "result")

    assert notes == {"/0": f"{KINDS}Item", "/1": f"{KINDS}SpecialItem"}
