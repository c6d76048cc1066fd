"""The type hints of a function, as far as they can be resolved."""

from __future__ import annotations

import inspect
import logging
import sys
import types
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, get_args, get_origin, get_type_hints

if sys.version_info >= (3, 14):
    import annotationlib

logger = logging.getLogger(__name__)


def resolved_hints(func: Callable[..., Any]) -> dict[str, Any]:
    """The type hints by parameter, ``return`` included; those that cannot be resolved are left out.

    Hints written as text are evaluated with the globals of the function and what it takes
    from the functions around it. Each stands for itself: a name that is imported for type
    checkers only spoils no other hint.

    >>> def add(ctx: "Unknown", n: "int") -> "list[int]": ...
    >>> resolved_hints(add)
    {'n': <class 'int'>, 'return': list[int]}
    """
    inner = inspect.unwrap(func)
    found: dict[str, Any] = {}
    names = _enclosing_names(inner)
    for name, hint in _annotations(inner).items():
        holder = types.SimpleNamespace(__annotations__={name: hint})
        try:
            found.update(
                get_type_hints(holder, getattr(inner, "__globals__", {}), names, include_extras=True)
            )
        except Exception as error:  # noqa: BLE001 - evaluating a hint may raise anything
            logger.debug(
                "The hint of %r in %s counts as none, it cannot be resolved: %s",
                name,
                getattr(inner, "__qualname__", inner),
                error,
            )
    return found


def signature_of(func: Callable[..., Any]) -> inspect.Signature:
    """The signature of a function, also when its annotations name what does not exist.

    >>> signature_of(lambda ctx, n: n)
    <Signature (ctx, n)>
    """
    if sys.version_info >= (3, 14):
        # There annotations are evaluated when they are asked for.
        return inspect.signature(func, annotation_format=annotationlib.Format.FORWARDREF)
    return inspect.signature(func)


def _annotations(func: Callable[..., Any]) -> dict[str, Any]:
    signature = signature_of(func)
    hints = {parameter.name: parameter.annotation for parameter in signature.parameters.values()}
    hints["return"] = signature.return_annotation
    return {name: hint for name, hint in hints.items() if hint is not inspect.Signature.empty}


def _enclosing_names(func: Callable[..., Any]) -> dict[str, Any]:
    names: dict[str, Any] = {}
    code, cells = getattr(func, "__code__", None), getattr(func, "__closure__", None) or ()
    for name, cell in zip(code.co_freevars if code else (), cells, strict=False):
        try:
            names[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    return names


def awaited(hint: Any) -> Any:
    """What a function with this return hint gives when its result is awaited.

    >>> awaited(Awaitable[int]), awaited(int)
    (<class 'int'>, <class 'int'>)
    """
    if get_origin(hint) is Awaitable or get_origin(hint) is Coroutine:
        return get_args(hint)[-1]
    return hint
