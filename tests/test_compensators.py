from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel

from edda.codec.binding import FunctionCodec
from edda.compensators import Compensator
from edda.context import WorkflowContext


async def release(ctx: WorkflowContext, item: str, reserved: int) -> None: ...


class Booking(BaseModel):
    item: str
    reserved: int


@dataclass
class Slip:
    item: str
    reserved: int


def compensator(function: Callable[..., Any]) -> Compensator:
    return Compensator(function, func=function)


def arguments_after(
    function: Callable[..., Any], activity: Callable[..., Any], *args: Any, result: Any
) -> Any:
    codec = FunctionCodec(activity)
    made = compensator(function).registered_after(1, codec, codec.dump_call(args, {}), result)
    return FunctionCodec(function).load_call(made.call)


def test_it_gets_arguments_by_name_and_over_them_the_keys_of_the_result() -> None:
    def reserve(ctx: Any, item: str, count: int = 1, *, place: str = "here") -> None: ...
    async def undo(ctx: WorkflowContext, item: str, count: int, place: str, reserved: int) -> None: ...

    assert arguments_after(undo, reserve, "A", 2, result={"reserved": 4, "place": "there"}) == (
        [],
        {"item": "A", "count": 2, "place": "there", "reserved": 4},
    )


@pytest.mark.parametrize(
    "result", [{"item": "B", "reserved": 3, 4: "no name"}, Booking(item="B", reserved=3), Slip("B", 3)]
)
def test_dicts_models_and_dataclasses_give_their_parts(result: Any) -> None:
    def reserve(ctx: Any, item: str) -> None: ...

    assert arguments_after(release, reserve, "A", result=result) == ([], {"item": "B", "reserved": 3})


def test_a_result_of_another_type_adds_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def reserve(ctx: Any, item: str) -> None: ...

    assert arguments_after(release, reserve, "A", result="reserved") == ([], {"item": "A"})
    assert "release() cannot be called with what its activity provides (item)" in caplog.text


def test_one_that_takes_any_names_gets_all_of_them() -> None:
    def reserve(ctx: Any, item: str, **more: int) -> None: ...
    async def undo(ctx: WorkflowContext, **everything: Any) -> None: ...

    codec = FunctionCodec(reserve)
    made = compensator(undo).registered_after(1, codec, codec.dump_call(["A"], {"extra": 1}), {"reserved": 3})
    assert made.call.json == {"args": [], "kwargs": {"item": "A", "extra": 1, "reserved": 3}}


def test_a_part_of_the_result_that_is_called_like_the_context_is_not_taken_for_it() -> None:
    def reserve(context: Any, item: str) -> None: ...
    async def undo(ctx: WorkflowContext, **everything: Any) -> None: ...

    assert arguments_after(undo, reserve, "A", result={"ctx": 1, "reserved": 3}) == (
        [],
        {"item": "A", "reserved": 3},
    )


@pytest.mark.parametrize("target", [3, "release", functools.partial(release, item="A"), Booking])
def test_what_is_no_function_is_refused(target: Any) -> None:
    with pytest.raises(TypeError, match="a compensation is a function or an activity"):
        compensator(target)


def test_a_function_without_a_place_for_the_context_is_refused() -> None:
    async def undo(*, item: str) -> None: ...
    async def nothing() -> None: ...

    for function in (undo, nothing):
        with pytest.raises(TypeError, match=r"\(\) has no parameter for the context"):
            compensator(function)


def test_a_registered_call_that_does_not_fit_is_refused() -> None:
    with pytest.raises(TypeError, match=r"release\(\): missing a required argument: 'reserved'"):
        compensator(release).registered(1, ("A",), {})
    with pytest.raises(TypeError, match="cannot be stored"):
        compensator(release).registered(1, ("A", object()), {})


def test_what_can_be_given_by_position_only_is_refused_where_arguments_have_names() -> None:
    async def undo(ctx: WorkflowContext, item: str, /) -> None: ...

    with pytest.raises(TypeError, match="'item' by position only"):
        compensator(undo).check_takes_names()
