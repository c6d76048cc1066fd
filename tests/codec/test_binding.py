"""Arguments of functions by their signatures."""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from edda.codec.binding import FunctionCodec
from edda.codec.json import dumps
from edda.codec.values import Encoded
from tests.support.kinds import Aliased, Color, Frozen, Item, Order

DAY = dt.date(2024, 2, 29)


async def place(
    ctx: Any,
    order: Order,
    color: Color = Color.RED,
    *,
    due: dt.date | None = None,
    items: list[Item] = [],  # noqa: B006 - a default of the user
    note: Item = None,  # type: ignore[assignment]
) -> list[Item]:
    raise NotImplementedError


async def flat(ctx: Any, order: Order) -> None: ...


async def flat_optional(ctx: Any, order: Order = Order(id=0)) -> None: ...  # noqa: B008


async def keywords(ctx: Any, a: int = 1, **more: dt.date) -> None: ...


async def bare(ctx, a, b=2): ...  # type: ignore[no-untyped-def]


def loaded(func: Any, given: dict[str, Any]) -> dict[str, Any]:
    """What the body gets for these arguments, by way of the texts in the database."""
    codec = FunctionCodec(func)
    stored = codec.dump_kwargs(given)
    types = None if stored.types is None else dumps(stored.types)
    from_text = codec.load_kwargs_text(dumps(stored.json), types)
    assert codec.load_kwargs(stored) == from_text
    return from_text


def test_arguments_are_restored_to_the_hints() -> None:
    given = {"order": {"id": 1}, "color": "GREEN", "due": "2024-02-29", "items": [{"sku": "a"}]}

    assert loaded(place, given) == {
        "order": Order(id=1),
        "color": Color.GREEN,
        "due": DAY,
        "items": [Item(sku="a")],
    }


def test_typed_arguments_are_stored_plainly_and_come_back() -> None:
    given = {
        "order": Order(id=1, due=DAY),
        "color": Color.GREEN,
        "due": DAY,
        "items": [Item(sku="a")],
        "note": None,
    }

    stored = FunctionCodec(place).dump_kwargs(given)

    assert stored.types is None
    assert isinstance(stored.json, dict)
    assert (stored.json["color"], stored.json["due"]) == ("green", "2024-02-29")
    assert loaded(place, given) == given


def test_without_hints_the_notes_restore() -> None:
    given = {"a": (1, DAY), "b": Frozen(1)}

    stored = FunctionCodec(bare).dump_kwargs(given)

    assert stored.json == {"a": [1, "2024-02-29"], "b": {"a": 1, "b": None}}
    assert stored.types == {"/a": "tuple", "/a/1": "date", "/b": "tests.support.kinds:Frozen"}
    assert loaded(bare, given) == given


def test_unknown_keys_stay_in_the_input_only() -> None:
    given: dict[str, Any] = {"a": 1, "when/~": DAY, "_trace_context": {"traceparent": "x"}}

    stored = FunctionCodec(bare).dump_kwargs(given)

    assert stored == Encoded({**given, "when/~": "2024-02-29"}, {"/when~1~0": "date"})
    assert loaded(bare, given) == {"a": 1}


def test_unknown_keys_go_to_a_function_that_takes_any() -> None:
    given = {"b": "2024-02-29", "c/~": (1,)}

    assert loaded(keywords, given) == {"b": DAY, "c/~": (1,)}


@pytest.mark.parametrize("given", [{}, {"b": 1}])
def test_a_missing_argument_is_a_type_error_that_names_function_and_parameter(given: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=r"^bare\(\) is missing the required parameter 'a'$"):
        loaded(bare, given)


def test_positional_only_parameters_cannot_be_given_by_name() -> None:
    async def positional(ctx: Any, a: int, /, b: int) -> None: ...

    with pytest.raises(TypeError, match="takes 'a' by position only"):
        loaded(positional, {"a": 1, "b": 2})


def test_variadic_parameters_are_not_required() -> None:
    async def variadic(ctx: Any, *args: int, a: int) -> None: ...

    assert FunctionCodec(variadic).required_parameters() == ("a",)
    assert loaded(variadic, {"a": 1, "args": [1]}) == {"a": 1}


def test_the_whole_input_is_the_only_model() -> None:
    assert loaded(flat, {"id": 1, "color": "red", "more": 1}) == {"order": Order(id=1)}
    assert loaded(flat, {"id": 1, "due": DAY}) == {"order": Order(id=1, due=DAY)}
    assert loaded(flat, {"order": {"id": 2}}) == {"order": Order(id=2)}


def test_a_model_with_a_default_needs_no_input() -> None:
    assert loaded(flat_optional, {}) == {}
    assert loaded(flat_optional, {"id": 3}) == {"order": Order(id=3)}


def test_aliases_and_names_are_both_taken_from_outside() -> None:
    async def aliased(ctx: Any, order: Aliased) -> None: ...

    expected = {"order": Aliased(orderNumber=1, **{"in": "x"})}
    assert loaded(aliased, {"orderNumber": 1, "in": "x"}) == expected
    assert loaded(aliased, {"number": 1, "text": "x"}) == expected
    assert loaded(aliased, expected) == expected


def test_one_model_among_several_parameters_is_not_flat() -> None:
    async def two(ctx: Any, order: Order, n: int = 0) -> None: ...

    with pytest.raises(TypeError, match="missing the required parameter 'order'"):
        loaded(two, {"id": 1})


@pytest.mark.parametrize("given", [{}, {"id": "x"}, {"order": {}}, {"order": None}])
def test_an_invalid_model_is_a_validation_error(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        loaded(flat, given)


def test_none_is_taken_where_it_is_the_default() -> None:
    assert loaded(place, {"order": {"id": 1}, "note": None})["note"] is None


def test_an_argument_that_cannot_be_stored_is_named() -> None:
    with pytest.raises(TypeError, match=r"^input\.a\[0\]\.x: a value of type object cannot be stored$"):
        FunctionCodec(bare).dump_kwargs({"a": [{"x": object()}]})
    with pytest.raises(TypeError, match=r"^args\[1\]: a value of type object cannot be stored$"):
        FunctionCodec(bare).dump_call((1, object()), {})
    with pytest.raises(TypeError, match=r"^kwargs\.b: a value of type object cannot be stored$"):
        FunctionCodec(bare).dump_call((1,), {"b": object()})


@pytest.mark.parametrize("name", ["a\0", "\ud800"])
def test_a_name_that_databases_refuse_is_refused(name: str) -> None:
    with pytest.raises(TypeError, match=r"the name .* of an argument cannot be stored"):
        FunctionCodec(keywords).dump_kwargs({name: 1})


def test_a_call_is_stored_with_its_positional_arguments() -> None:
    codec = FunctionCodec(place)

    assert codec.dump_call((1, "a"), {"x": [None]}) == Encoded({"args": [1, "a"], "kwargs": {"x": [None]}})
    stored = codec.dump_call((Order(id=1), Color.RED, (2,)), {"due": DAY, "more": Decimal(1)})
    assert stored.types == {"/args/2": "tuple", "/kwargs/more": "Decimal"}
    assert stored.json == {
        "args": [{"id": 1, "items": [], "due": None, "color": "red", "by_level": {}}, "red", [2]],
        "kwargs": {"due": "2024-02-29", "more": "1"},
    }


def test_positional_only_and_variadic_arguments_have_their_hints() -> None:
    def call(ctx: Any, first: dt.date, /, *rest: Decimal) -> None: ...

    stored = FunctionCodec(call).dump_call((DAY, Decimal(1), Decimal(2)), {})

    assert stored == Encoded({"args": ["2024-02-29", "1", "2"], "kwargs": {}})


def test_the_result_has_the_hint_of_the_function() -> None:
    assert FunctionCodec(place).result.annotation == list[Item]
    assert FunctionCodec(bare).result.annotation is Any
    assert FunctionCodec(place).result is not FunctionCodec(place).result

    def later(ctx: Any) -> Awaitable[Item]:
        raise NotImplementedError

    assert FunctionCodec(later).result.annotation is Item


def test_a_hint_that_cannot_be_resolved_counts_as_none() -> None:
    class Local:
        pass

    async def local(ctx: Missing, a: Local, b: Item) -> Local:  # type: ignore[name-defined]  # noqa: F821
        raise NotImplementedError

    assert loaded(local, {"a": (1,), "b": {"sku": "x"}}) == {"a": (1,), "b": Item(sku="x")}
    assert FunctionCodec(local).result.annotation is Any


def test_a_hint_that_is_no_type_counts_as_none() -> None:
    def odd(ctx, a=None, b=1): ...  # type: ignore[no-untyped-def]

    odd.__annotations__ = {"a": 5, "b": 5, "return": 5}

    assert loaded(odd, {"a": (1,), "b": (1,)}) == {"a": (1,), "b": (1,)}
    assert FunctionCodec(odd).result.dump((1,), "result") == Encoded([1], {"": "tuple"})


def test_required_parameters_are_named_in_order() -> None:
    assert FunctionCodec(place).required_parameters() == ("order",)
    assert FunctionCodec(keywords).required_parameters() == ()


def test_a_call_comes_back_restored_to_the_annotations() -> None:
    async def book(ctx: Any, due: dt.date, *more: dt.date, hotel: Item, **rest: int) -> None: ...

    codec = FunctionCodec(book)
    args, kwargs = [dt.date(2024, 1, 1), dt.date(2024, 1, 2)], {"hotel": Item(sku="a"), "extra": 4}
    assert codec.load_call(codec.dump_call(args, kwargs)) == (args, kwargs)


def test_untyped_arguments_of_a_call_come_back_by_their_notes() -> None:
    async def book(ctx: Any, first: Any, second: Any) -> None: ...

    codec = FunctionCodec(book)
    stored = codec.dump_call(["plain", {1, 2}], {"second": (3, dt.date(2024, 1, 1))})
    assert codec.load_call(stored) == (["plain", {1, 2}], {"second": (3, dt.date(2024, 1, 1))})


def test_a_call_that_does_not_fit_names_function_and_parameter() -> None:
    async def book(ctx: Any, due: dt.date) -> None: ...

    with pytest.raises(TypeError, match=r"book\(\): missing a required argument: 'due'"):
        FunctionCodec(book).check_call([], {})
