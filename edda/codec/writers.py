"""Writing values without an annotation: plain JSON, and a note wherever it loses a type."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any, Final, cast

from pydantic import BaseModel

from edda.codec.adapters import NotRestorableError, model_adapter, write_exactly
from edda.codec.classes import class_name, per_class
from edda.codec.json import MAX_DEPTH
from edda.codec.keys import key_text
from edda.codec.plain import is_text, snapshot
from edda.codec.scalars import SCALARS, from_text, to_text
from edda.codec.state import has_state, take_state
from edda.types import JSONObject, JSONValue

logger = logging.getLogger(__name__)


def write(value: Any, where: str) -> tuple[JSONValue, JSONObject]:
    """The plain JSON of any value that can be stored, and its notes by JSON pointer.

    Raises TypeError naming the place of a value that cannot be stored, contains itself,
    or is nested too deeply.

    >>> write({"at": (1, 2)}, "result")
    ({'at': [1, 2]}, {'/at': 'tuple'})
    """
    writer = _Writer(where)
    return _writing(type(value))(writer, value), writer.notes


class _Writer:
    def __init__(self, where: str) -> None:
        self.notes: JSONObject = {}
        self._where = where
        # Steps from the root, an index or a name each.
        self._path: list[int | str] = []
        self._open: set[int] = set()

    def note(self, note: str) -> None:
        self.notes["".join(f"/{_escape(str(step))}" for step in self._path)] = note

    def place(self) -> str:
        return self._where + "".join(map(_step_text, self._path))

    # The two loops call the next writing themselves: each frame of a level counts, where
    # values may be nested deeply and the interpreter limits the stack.

    def array(self, value: Any, items: Iterable[Any]) -> JSONValue:
        self._enter(value)
        json: list[JSONValue] = []
        for index, item in enumerate(items):
            self._path.append(index)
            json.append(_writing(type(item))(self, item))
            self._path.pop()
        self._open.remove(id(value))
        return json

    def object(self, value: Any, items: Iterable[tuple[str, Any]]) -> JSONValue:
        self._enter(value)
        json: JSONObject = {}
        for name, item in items:
            self._path.append(name)
            json[name] = _writing(type(item))(self, item)
            self._path.pop()
        self._open.remove(id(value))
        return json

    def _enter(self, value: Any) -> None:
        if id(value) in self._open:
            raise TypeError(f"{self.place()}: a value that contains itself cannot be stored")
        if len(self._path) >= MAX_DEPTH:
            raise TypeError(f"{self._where}: a value nested deeper than {MAX_DEPTH} levels cannot be stored")
        self._open.add(id(value))

    def refuse(self, value: Any) -> TypeError:
        return TypeError(f"{self.place()}: a value of type {_type_text(type(value))} cannot be stored")


def _escape(step: str) -> str:
    return step.replace("~", "~0").replace("/", "~1")


def _step_text(step: int | str) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    return f".{step}" if step.isidentifier() else f"[{step!r}]"


def _type_text(cls: type) -> str:
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


_Writing = Callable[[_Writer, Any], JSONValue]


@per_class
def _writing(kind: type) -> _Writing:
    known = _WRITINGS.get(kind)
    if known is not None:
        return known
    rules: tuple[tuple[bool, _Writing], ...] = (
        (issubclass(kind, Enum), _write_member),
        (issubclass(kind, tuple) and hasattr(kind, "_fields"), _write_named_tuple),
        (has_state(kind), _write_state),
        (issubclass(kind, (str, int, float)), _write_subclass),
        (issubclass(kind, SCALARS), _write_base_scalar),
        *((issubclass(kind, base), _write_as(base)) for base in (tuple, list, dict, set, frozenset)),
    )
    return next((writing for applies, writing in rules if applies), _refuse)


def _refuse(writer: _Writer, value: Any) -> JSONValue:
    raise writer.refuse(value)


def _write_atom(_writer: _Writer, value: Any) -> JSONValue:
    return value  # type: ignore[no-any-return]  # only called for int, bool and None


def _write_str(writer: _Writer, value: str) -> JSONValue:
    if is_text(value):
        return value
    writer.note("str")
    return value.encode("unicode_escape").decode("ascii")


def _write_float(writer: _Writer, value: float) -> JSONValue:
    if math.isfinite(value):
        return value
    writer.note("float")
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _write_scalar(writer: _Writer, value: Any) -> JSONValue:
    text, note = to_text(value, type(value))
    writer.note(note)
    return text


def _write_base_scalar(writer: _Writer, value: Any) -> JSONValue:
    """A subclass of a scalar, such as the UUID of a database driver: comes back as the base class."""
    base = next(base for base in SCALARS if isinstance(value, base))
    text, note = to_text(value, base)
    if from_text(note, text) != value:
        raise writer.refuse(value)
    writer.note(note)
    return text


def _write_list(writer: _Writer, value: list[Any]) -> JSONValue:
    return writer.array(value, value)


def _write_tuple(writer: _Writer, value: tuple[Any, ...]) -> JSONValue:
    writer.note("tuple")
    return writer.array(value, value)


def _write_set(writer: _Writer, value: set[Any] | frozenset[Any]) -> JSONValue:
    writer.note("set" if isinstance(value, set) else "frozenset")
    # An order that does not depend on the process, as far as there is one.
    return writer.array(value, sorted(value, key=lambda item: (type(item).__name__, repr(item))))


def _write_dict(writer: _Writer, value: dict[Any, Any]) -> JSONValue:
    if all(type(key) is str and is_text(key) for key in value):
        return writer.object(value, value.items())
    texts = key_text(value)
    if texts is None:
        writer.note("dict")
        return writer.array(value, [list(pair) for pair in value.items()])
    names, note = texts
    writer.note(f"dict[{note}]")
    return writer.object(value, zip(names, value.values(), strict=True))


def _write_as(base: type) -> _Writing:
    """A subclass of a container comes back as the container, if that is equal to it."""
    writing = _WRITINGS[base]

    def write_base(writer: _Writer, value: Any) -> JSONValue:
        if base(value) != value:
            raise writer.refuse(value)
        return writing(writer, value)

    return write_base


def _write_subclass(writer: _Writer, value: Any) -> JSONValue:
    """A subclass of str, int or float: comes back as itself if it adds no state, else as an equal base."""
    base = next(base for base in (str, int, float) if isinstance(value, base))
    plain: Any = str.__str__(value) if base is str else base(value)
    json = _WRITINGS[base](writer, plain)
    if json != plain or plain != value:
        raise writer.refuse(value)
    if not getattr(value, "__dict__", None) and _can_be_made(type(value), base, plain):
        writer.note(class_name(type(value)))
    return json


def _can_be_made(cls: type, base: Any, plain: Any) -> bool:
    try:
        return bool(base.__new__(cls, plain) == plain)
    except TypeError:  # a class of an extension module insists on its own constructor
        return False


def _write_member(writer: _Writer, value: Enum) -> JSONValue:
    cls = type(value)
    json = _member_value(value)
    if json is not _NO_VALUE:
        writer.note(class_name(cls))
        return cast("JSONValue", json)
    if cls.__members__.get(value.name) is not value:
        raise writer.refuse(value)
    writer.note(f"name@{class_name(cls)}")
    return value.name


def _member_value(member: Enum) -> Any:
    try:
        json = snapshot(member.value)
        return json if type(member)(json) is member else _NO_VALUE
    except Exception:  # noqa: BLE001 - looking up a member may run code of its class
        return _NO_VALUE


def _write_named_tuple(writer: _Writer, value: tuple[Any, ...]) -> JSONValue:
    writer.note(class_name(type(value)))
    return writer.array(value, value)


def _write_state(writer: _Writer, value: Any) -> JSONValue:
    cls = type(value)
    if not isinstance(value, BaseModel):
        writer.note(class_name(cls))
        return _write_fields(writer, value)
    try:
        json = write_exactly(model_adapter(cls), value)
    except NotRestorableError:
        writer.note(f"state@{class_name(cls)}")
        return _write_fields(writer, value)
    writer.note(class_name(cls))
    return json


def _write_fields(writer: _Writer, value: Any) -> JSONValue:
    state = take_state(value)
    private = getattr(type(value), "__private_attributes__", {})
    kept = {name: item for name, item in state.items() if name not in private or _can_be_stored(name, item)}
    if not all(map(is_text, kept)):
        raise writer.refuse(value)
    return writer.object(value, kept.items())


def _can_be_stored(name: str, item: Any) -> bool:
    """Private attributes hold locks and connections too; those come back as a new instance has them."""
    try:
        write(item, name)
    except TypeError as error:
        logger.debug("A private attribute is not stored: %s", error)
        return False
    return True


_NO_VALUE: Final = object()
_WRITINGS: dict[type, _Writing] = {
    int: _write_atom,
    bool: _write_atom,
    type(None): _write_atom,
    str: _write_str,
    float: _write_float,
    list: _write_list,
    tuple: _write_tuple,
    set: _write_set,
    frozenset: _write_set,
    dict: _write_dict,
    **dict.fromkeys(SCALARS, _write_scalar),
}
