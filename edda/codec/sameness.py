"""Whether a restored value is the value that was stored: equal, and of the same types all through."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from decimal import Decimal
from enum import Enum
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel

from edda.codec.classes import per_class
from edda.codec.state import has_state, kept_fields, take_state


def same(left: Any, right: Any) -> bool:
    """Whether two values are equal and of the same types, down to the last element.

    NaN is the same as NaN, 0.0 is not -0.0, and order counts, except in sets.

    >>> same([1, {"a": (2,)}], [1, {"a": (2,)}]), same([1], [True]), same([1], [1.0])
    (True, False, False)
    """
    if left is right:
        return True
    kind = type(left)
    if kind is not type(right):
        return False
    if kind in _BY_EQUALITY:
        return bool(left == right)
    return _comparison(kind)(left, right)


_ABSENT = object()
_BY_EQUALITY = frozenset({str, int, bool, type(None), bytes, dt.date, dt.timedelta})


@per_class
def _comparison(kind: type) -> Callable[[Any, Any], bool]:
    known = _COMPARISONS.get(kind)
    if known is not None:
        return known
    if issubclass(kind, Enum):
        return _same_object
    if issubclass(kind, BaseModel):
        return _model_comparison(kind)
    if has_state(kind):
        return _same_state
    for base in (tuple, list, dict, set, frozenset):
        if issubclass(kind, base):
            return _COMPARISONS[base]
    return _equal


def _same_object(left: Any, right: Any) -> bool:
    return left is right


def _model_comparison(cls: type[BaseModel]) -> Callable[[Any, Any], bool]:
    fields = kept_fields(cls)

    def same_model(left: BaseModel, right: BaseModel) -> bool:
        here, there = left.__dict__, right.__dict__
        for name in fields:
            if not same(here.get(name, _ABSENT), there.get(name, _ABSENT)):
                return False
        return same(left.__pydantic_extra__, right.__pydantic_extra__) and same(
            left.__pydantic_private__, right.__pydantic_private__
        )

    return same_model


def _same_state(left: Any, right: Any) -> bool:
    return _same_items(take_state(left), take_state(right))


def _same_items(left: dict[Any, Any], right: dict[Any, Any]) -> bool:
    return _same_elements(left, right) and _same_elements(left.values(), right.values())


def _same_elements(left: Any, right: Any) -> bool:
    return len(left) == len(right) and all(map(same, left, right))


def _same_set(left: Any, right: Any) -> bool:
    if len(left) != len(right):
        return False
    partners = {item: item for item in right}
    return all(item in partners and same(item, partners[item]) for item in left)


def _same_float(left: float, right: float) -> bool:
    if left == right:
        return left != 0 or math.copysign(1, left) == math.copysign(1, right)
    return math.isnan(left) and math.isnan(right)


def _same_text(left: Any, right: Any) -> bool:
    return str(left) == str(right)


def _same_time(left: Any, right: Any) -> bool:
    # The text of a time tells everything but its zone, of which it has the offset only.
    return left.isoformat() == right.isoformat() and _zone_key(left) == _zone_key(right)


def _zone_key(value: dt.datetime | dt.time) -> str | None:
    return value.tzinfo.key if isinstance(value.tzinfo, ZoneInfo) else None


def _equal(left: Any, right: Any) -> bool:
    try:
        return bool(left == right)
    except Exception:  # noqa: BLE001 - a comparison may raise anything; then nothing is known
        return False


_COMPARISONS: dict[type, Callable[[Any, Any], bool]] = {
    list: _same_elements,
    tuple: _same_elements,
    dict: _same_items,
    set: _same_set,
    frozenset: _same_set,
    float: _same_float,
    Decimal: _same_text,
    dt.datetime: _same_time,
    dt.time: _same_time,
}
