"""Type hints as far as they can be resolved."""

from __future__ import annotations

import functools
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Annotated, Any

import pytest

from edda.codec.signatures import awaited, resolved_hints

if TYPE_CHECKING:
    from somewhere import Context  # type: ignore[import-not-found]


class Known:
    pass


def test_each_hint_stands_for_itself(caplog: pytest.LogCaptureFixture) -> None:
    def func(ctx: Context, known: Known, *args: int, plain, **more: "list[str]") -> dict[str, Known]:  # type: ignore[no-untyped-def]  # noqa: UP037
        raise NotImplementedError

    with caplog.at_level(logging.DEBUG):
        hints = resolved_hints(func)

    assert hints == {"known": Known, "args": int, "more": list[str], "return": dict[str, Known]}
    assert "The hint of 'ctx'" in caplog.text


def test_a_local_class_is_resolved_if_the_function_uses_it() -> None:
    class Local:
        pass

    def using(value: Local) -> None:
        Local()

    def naming(value: Local) -> None: ...

    assert resolved_hints(using) == {"value": Local, "return": type(None)}
    assert resolved_hints(naming) == {"return": type(None)}


def test_a_name_that_is_not_assigned_yet_resolves_nothing() -> None:
    def early(value: Later) -> None:
        Later()

    assert resolved_hints(early) == {"return": type(None)}

    class Later:
        pass

    assert resolved_hints(early)["value"] is Later


def test_the_hints_of_the_wrapped_function_count() -> None:
    def inner(value: Known) -> int:
        return 1

    @functools.wraps(inner)
    def outer(*args: Any) -> Any: ...

    assert resolved_hints(outer) == {"value": Known, "return": int}


def test_callables_of_other_kinds_have_hints_too() -> None:
    class Callee:
        def __call__(self, value: Known) -> int:
            return 1

    assert resolved_hints(functools.partial(Callee().__call__)) == {"return": int}
    assert resolved_hints(Callee().__call__) == {"value": Known, "return": int}


def test_constraints_are_kept() -> None:
    def func(value: Annotated[int, "positive"]) -> None: ...

    assert resolved_hints(func)["value"] == Annotated[int, "positive"]


@pytest.mark.parametrize("hint", [Awaitable[int], Coroutine[Any, Any, int], int])
def test_what_is_awaited_counts_as_the_result(hint: Any) -> None:
    assert awaited(hint) is int


def test_other_hints_of_a_result_stay() -> None:
    assert awaited(Callable[[], int]) == Callable[[], int]
    assert awaited(Awaitable) is Awaitable
