"""Exceptions as JSON, and back without calling their constructors.

The form is ``{"type", "message", "args", "attributes", "bases", "notes", "cause"}``, with
``exceptions`` for a group and ``types`` where plain JSON loses a type (see
:mod:`edda.codec.writers`). What cannot be stored, or is very large, is replaced by its
``repr``, and a note on the exception says so.

Types come out of the database. Only classes of exceptions are ever made from them, found
as :mod:`edda.codec.classes` describes, and no code of theirs runs. A class that cannot be
found or rebuilt is represented by the nearest of its bases that can, with the same
message, so that ``except`` clauses for that base still match.

Signals such as ``KeyboardInterrupt`` and ``asyncio.CancelledError`` are never recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, cast

from edda.codec.classes import class_name, find_class
from edda.codec.json import dumps
from edda.codec.readers import read
from edda.codec.rebuilding import attributes_of, complete_args, new_error, set_attribute
from edda.codec.tracebacks import format_error, message_of
from edda.codec.writers import write
from edda.exceptions import StoredValueError
from edda.types import JSONObject, JSONValue

_MAX_DEPTH = 20
_MAX_GROUP = 100
_MAX_PART = 64 * 1024
_NESTED = "error"


def error_fields(error: BaseException) -> dict[str, JSONValue]:
    """What people look at: ``error_type`` (the bare class name), ``error_message`` and ``stack_trace``.

    >>> error_fields(KeyError("x"))["error_type"]
    'KeyError'
    """
    return {
        "error_type": type(error).__name__,
        "error_message": _shorten(message_of(error)),
        "stack_trace": format_error(error),
    }


def dump_error(error: BaseException) -> JSONObject:
    """The exception as a JSON object; raises TypeError for a signal, which is no error.

    >>> dump_error(KeyError("x"))["type"]
    'builtins:KeyError'
    """
    if not isinstance(error, Exception):
        raise TypeError(f"{type(error).__name__} is a signal and is never recorded")
    return _dump(error, ())


def _dump(error: BaseException, outer: tuple[BaseException, ...]) -> JSONObject:
    parts = _Parts((*outer, error))
    cause = error.__cause__
    fields: JSONObject = {
        "type": class_name(type(error)),
        "message": _shorten(message_of(error)),
        "args": parts.array("args", complete_args(error)),
        "attributes": parts.object("attributes", attributes_of(error)),
        "bases": [class_name(base) for base in type(error).__mro__[1:] if issubclass(base, BaseException)],
        "cause": None if cause is None else parts.nested(cause),
    }
    if isinstance(error, BaseExceptionGroup):
        nested = [parts.nested(each) for each in error.exceptions[:_MAX_GROUP]]
        fields["exceptions"] = [each for each in nested if each is not None]
    if parts.types:
        fields["types"] = parts.types
    notes = [str(note) for note in getattr(error, "__notes__", ())]
    fields["notes"] = cast("JSONValue", notes + parts.notes)
    return fields


class _Parts:
    """Writes what an exception holds, and collects what is to be said about it."""

    def __init__(self, chain: tuple[BaseException, ...]) -> None:
        self._chain = chain
        self.types: JSONObject = {}
        self.notes: list[str] = []

    def array(self, name: str, items: Iterable[Any]) -> JSONValue:
        return [self._part(f"/{name}/{index}", f"{name}[{index}]", item) for index, item in enumerate(items)]

    def object(self, name: str, items: dict[str, Any]) -> JSONValue:
        return {key: self._part(f"/{name}/{key}", key, item) for key, item in items.items()}

    def _part(self, pointer: str, where: str, value: Any) -> JSONValue:
        if isinstance(value, BaseException):
            nested = self.nested(value)
            if nested is not None:
                self.types[pointer] = _NESTED
                return nested
        try:
            json, types = write(value, where)
            if len(dumps(json)) <= _MAX_PART:
                self.types.update((pointer + place, note) for place, note in types.items())
                return json
            reason = f"{where}: the value is too large"
        except TypeError as error:
            reason = str(error)
        self.notes.append(f"{reason}; it is represented by its repr")
        return _shorten(value if type(value) is str else _repr(value))

    def nested(self, error: BaseException) -> JSONObject | None:
        if len(self._chain) >= _MAX_DEPTH or any(error is outer for outer in self._chain):
            return None
        return _dump(error, self._chain)


def _repr(value: Any) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - a repr may raise anything
        return f"<{type(value).__qualname__}>"


def _shorten(text: str) -> str:
    if len(text) <= _MAX_PART:
        return text
    return f"{text[:_MAX_PART]}... [{len(text) - _MAX_PART} characters more]"


def load_error(fields: JSONValue) -> Exception:
    """The exception that was dumped, or what stands for it.

    >>> load_error(dump_error(KeyError("x")))
    KeyError('x')
    """
    if not isinstance(fields, dict):
        raise StoredValueError("the stored error is no JSON object")
    return cast("Exception", _load(fields, Exception))


def _load(fields: JSONObject, kind: type[BaseException]) -> BaseException:
    error = _rebuild(fields, kind)
    cause = fields.get("cause")
    if isinstance(cause, dict):
        error.__cause__ = _load(cause, BaseException)
    for note in cast("list[JSONValue]", fields.get("notes") or []):
        error.add_note(str(note))
    return error


def _rebuild(fields: JSONObject, kind: type[BaseException]) -> BaseException:
    types = cast("JSONObject", fields.get("types") or {})
    args = tuple(_load_parts(fields, types, "args").values())
    attributes = _load_parts(fields, types, "attributes")
    nested = fields.get("exceptions")
    if isinstance(nested, list):
        args = (*args[:1], [_load(each, kind) for each in nested if isinstance(each, dict)])
    own = _class(str(fields.get("type")), kind)
    if own is not None and (error := _attempt(own, args, attributes)) is not None:
        return error
    return _stand_in(fields, kind, args, attributes)


def _stand_in(
    fields: JSONObject, kind: type[BaseException], args: tuple[Any, ...], attributes: dict[str, Any]
) -> BaseException:
    """The nearest base; with the arguments if they give the message, else with the message alone."""
    message = str(fields.get("message", ""))
    for base in _bases(fields, kind):
        attempts = [_attempt(base, each, attributes) for each in (args, (message,))]
        built = [error for error in attempts if error is not None]
        if built:
            error = next((each for each in built if message_of(each) == message), built[-1])
            error.add_note(f"stands for {fields.get('type')}, which this process cannot restore")
            return error
    raise AssertionError  # Exception itself can always be built


def _load_parts(fields: JSONObject, types: JSONObject, name: str) -> dict[str, Any]:
    stored = fields.get(name)
    items = stored.items() if isinstance(stored, dict) else enumerate(cast("list[Any]", stored or []))
    return {str(key): _load_part(value, types, f"/{name}/{key}") for key, value in items}


def _load_part(json: JSONValue, types: JSONObject, pointer: str) -> Any:
    if types.get(pointer) == _NESTED and isinstance(json, dict):
        return _load(json, BaseException)
    below = {
        place.removeprefix(pointer): note
        for place, note in types.items()
        if place == pointer or place.startswith(f"{pointer}/")
    }
    try:
        return read(json, below) if below else json
    except StoredValueError:
        # The error matters more than a part of it whose class is gone.
        return json


def _class(name: str, kind: type[BaseException]) -> type[BaseException] | None:
    cls = find_class(name)
    return cls if cls is not None and issubclass(cls, kind) else None


def _bases(fields: JSONObject, kind: type[BaseException]) -> Iterator[type[BaseException]]:
    for name in cast("list[JSONValue]", fields.get("bases") or []):
        base = _class(str(name), kind)
        if base is not None:
            yield base
    yield Exception


def _attempt(
    cls: type[BaseException], args: tuple[Any, ...], attributes: dict[str, Any]
) -> BaseException | None:
    try:
        error = new_error(cls, args)
        for name, value in attributes.items():
            set_attribute(error, name, value)
        str(error)
    except Exception:  # noqa: BLE001 - the class may have changed, or need what was not stored
        return None
    return error
