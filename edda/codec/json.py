"""JSON text: the only form in which values reach the database."""

from __future__ import annotations

import json as stdlib_json
from typing import Any, cast

from pydantic_core import PydanticSerializationError, from_json, to_json

from edda.exceptions import PayloadTooLargeError
from edda.types import JSONValue

# How deeply a value may be nested. Beyond are the limits of pydantic's parser (200 levels) and
# serializer (254) and of the interpreter's stack; the distance is room for what stands around
# a value in a row, and for the frames of the caller.
MAX_DEPTH = 100
DEFAULT_MAX_BYTES = 8 * 1024 * 1024
_MAX_TEXT_DEPTH = 254


def dumps(value: JSONValue) -> str:
    r"""The compact JSON text of a value.

    The text holds neither NUL nor a lone surrogate, whatever the strings hold: both are
    escaped, so that every database can store it. Integers of any size survive; so do NaN
    and the infinities, as the literals that Python and JavaScript know. Raises TypeError
    for anything that is not JSON, contains itself, or is nested deeper than 254 levels.

    >>> dumps({"a": [1, 2.5, None], "b": "x\0y"})
    '{"a":[1,2.5,null],"b":"x\\u0000y"}'
    """
    try:
        return to_json(value, inf_nan_mode="constants").decode()
    except PydanticSerializationError as error:
        if "surrogates not allowed" in str(error):
            return stdlib_json.dumps(value, separators=(",", ":"))
        raise TypeError(f"the value cannot be written as JSON: {error}") from error


def loads(text: str | bytes) -> JSONValue:
    """The value of a JSON text; raises ValueError when it is none.

    >>> loads('{"a":[1,2.5,null]}')
    {'a': [1, 2.5, None]}
    """
    try:
        return cast("JSONValue", from_json(text))
    except ValueError:
        # Lone surrogates and depths beyond 200 are beyond the fast parser, but legal.
        return _loads_rare(text)


def loads_object(text: str | bytes) -> dict[str, Any]:
    """As :func:`loads`, for a text that is known to hold an object.

    >>> loads_object('{"a":1}')["a"]
    1
    """
    return cast("dict[str, Any]", loads(text))


def _loads_rare(text: str | bytes) -> JSONValue:
    try:
        value = cast("JSONValue", stdlib_json.loads(text))
    except RecursionError:
        raise ValueError(_too_deep()) from None
    if _depth_exceeds(value, _MAX_TEXT_DEPTH):
        raise ValueError(_too_deep())
    return value


def _too_deep() -> str:
    return f"the JSON text is nested deeper than {_MAX_TEXT_DEPTH} levels"


def _depth_exceeds(value: JSONValue, limit: int) -> bool:
    level: list[Any] = [value]
    for _ in range(limit + 1):
        level = [item for node in level for item in _children(node)]
        if not level:
            return False
    return True


def _children(node: Any) -> list[Any]:
    if isinstance(node, dict):
        return list(node.values())
    return node if isinstance(node, list) else []


def check_size(text: str, where: str, *, limit: int = DEFAULT_MAX_BYTES) -> None:
    """Raise :class:`edda.exceptions.PayloadTooLargeError` if the text has more than ``limit`` bytes in UTF-8.

    >>> check_size("{}", "result", limit=2)
    """
    size = len(text) if text.isascii() else len(text.encode())
    if size > limit:
        raise PayloadTooLargeError(where, size, limit)
