"""Reading values by their notes, the counterpart of the writers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

from pydantic import BaseModel

from edda.codec.adapters import model_adapter, read_exactly
from edda.codec.classes import find_class
from edda.codec.keys import key_reader
from edda.codec.scalars import from_text, is_text_note
from edda.codec.state import from_state, has_state
from edda.exceptions import StoredValueError
from edda.types import JSONValue


def read(json: JSONValue, notes: Mapping[str, JSONValue]) -> Any:
    """The value that was written; the JSON is not changed.

    Raises :class:`edda.exceptions.StoredValueError` where a class is gone, or no longer
    accepts what is stored.

    >>> read({"at": [1, 2]}, {"/at": "tuple"})
    {'at': (1, 2)}
    """
    root = _Node()
    for pointer, note in notes.items():
        if not isinstance(note, str):
            raise StoredValueError(f"the note at {pointer!r} is no text")
        node = root
        for step in pointer.split("/")[1:]:
            node = node.children.setdefault(step.replace("~1", "/").replace("~0", "~"), _Node())
        node.note = note
        node.pointer = pointer
    return _rebuild(json, root)


class _Node:
    __slots__ = ("children", "note", "pointer")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.note: str | None = None
        self.pointer = ""


def _rebuild(json: Any, node: _Node) -> Any:
    try:
        value = _rebuild_children(json, node.children) if node.children else json
        return value if node.note is None else _restore(node.note, value)
    except StoredValueError:
        raise
    except Exception as error:  # validators are user code, and the row may hold anything
        raise StoredValueError(
            f"the value at {node.pointer!r} ({node.note}) cannot be restored: {error}"
        ) from error


def _rebuild_children(json: Any, children: dict[str, _Node]) -> Any:
    value = json.copy()
    for step, child in children.items():
        place: Any = int(step) if isinstance(json, list) else step
        value[place] = _rebuild(value[place], child)
    return value


def _restore(note: str, value: Any) -> Any:
    known = _READINGS.get(note)
    if known is not None:
        return known(value)
    if is_text_note(note):
        return from_text(note, value)
    if note.startswith("dict["):
        reader = key_reader(note[5:-1])
        return {reader(key): item for key, item in value.items()}
    form, _, name = note.rpartition("@")
    cls = find_class(name)
    if cls is None:
        raise StoredValueError(f"the class {name!r} of a stored value cannot be found")
    return _restore_object(cls, form, value)


def _restore_object(cls: type, form: str, value: Any) -> Any:
    """Only these kinds of classes are ever used, whatever a note names."""
    if issubclass(cls, Enum):
        return cls[value] if form == "name" else cls(value)
    if issubclass(cls, BaseModel) and form != "state":
        return read_exactly(model_adapter(cls), value)
    if has_state(cls):
        return from_state(cls, value)
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return tuple.__new__(cls, value)
    base: Any
    for base in (str, int, float):
        if issubclass(cls, base):
            # The class's own constructor is not called.
            return base.__new__(cls, value)
    raise StoredValueError(f"{cls.__qualname__} is not of a kind that can be stored")


def _read_str(text: str) -> str:
    return text.encode("ascii").decode("unicode_escape")


_READINGS: dict[str, Callable[[Any], Any]] = {
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "dict": dict,
    "float": float,
    "str": _read_str,
    "json": lambda value: value,
}
