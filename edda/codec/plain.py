"""The fast path: values that are JSON already, of exactly the built-in types."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from edda.codec.json import MAX_DEPTH
from edda.types import JSONValue


class NotPlainError(Exception):
    """The value is not plain JSON, or is nested too deeply to say."""


def snapshot(value: Any, depth: int = MAX_DEPTH) -> JSONValue:
    """A copy of a plain JSON value; raises :class:`NotPlainError` for any other.

    Plain means: only ``str``, ``int``, ``float``, ``bool``, ``None``, ``list`` and ``dict``
    with ``str`` keys, none of them a subclass, finite numbers, and text that every
    database takes. The copy is what was returned, even if the original changes later.

    >>> snapshot({"a": [1, None]})
    {'a': [1, None]}
    """
    copy = _COPIES.get(type(value))
    if copy is None:
        raise NotPlainError
    return copy(value, depth - 1)


# The two loops below run for every durable step. They look at the commonest types
# themselves, because a call for each leaf would double their time.


def _copy_dict(value: dict[Any, Any], depth: int) -> JSONValue:
    if depth < 0:
        raise NotPlainError
    copy: dict[str, JSONValue] = {}
    for key, item in value.items():
        if type(key) is not str or "\0" in key or not (key.isascii() or is_text(key)):
            raise NotPlainError
        kind = type(item)
        if kind is str:
            if "\0" in item or not (item.isascii() or is_text(item)):
                raise NotPlainError
        elif kind not in _ATOMS:
            item = snapshot(item, depth)  # noqa: PLW2901 - the same item, now a copy
        copy[key] = item
    return copy


def _copy_list(value: list[Any], depth: int) -> JSONValue:
    if depth < 0:
        raise NotPlainError
    copy: list[JSONValue] = []
    for item in value:
        kind = type(item)
        if kind is str:
            if "\0" in item or not (item.isascii() or is_text(item)):
                raise NotPlainError
        elif kind not in _ATOMS:
            item = snapshot(item, depth)  # noqa: PLW2901 - the same item, now a copy
        copy.append(item)
    return copy


def _copy_str(value: str, _depth: int) -> JSONValue:
    if not is_text(value):
        raise NotPlainError
    return value


def _copy_float(value: float, _depth: int) -> JSONValue:
    if not math.isfinite(value):
        raise NotPlainError
    return value


def _copy_atom(value: Any, _depth: int) -> JSONValue:
    return value  # type: ignore[no-any-return]  # only called for the types of _ATOMS


def is_text(value: str) -> bool:
    """Whether all databases can take the string, also inside a binary JSON column."""
    if "\0" in value:
        return False
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


_ATOMS = frozenset({int, bool, type(None)})
_COPIES: dict[type, Callable[[Any, int], JSONValue]] = {
    dict: _copy_dict,
    list: _copy_list,
    str: _copy_str,
    float: _copy_float,
    int: _copy_atom,
    bool: _copy_atom,
    type(None): _copy_atom,
}
