"""Keys of dicts that are no text, as the names of a JSON object."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any

from edda.codec.classes import class_name, find_class
from edda.codec.scalars import SCALARS, from_text, is_text_note, to_text


def key_text(keys: Iterable[Any]) -> tuple[list[str], str] | None:
    """The texts of keys that are all of one kind, and the note for :func:`key_reader`.

    None if they are of several kinds, or of one that has no text.

    >>> key_text([1, 2])
    (['1', '2'], 'int')
    >>> key_text([1, "1"]) is None
    True
    """
    found = [_text(key) for key in keys]
    texts = [pair[0] for pair in found if pair is not None]
    notes = {pair[1] for pair in found if pair is not None}
    if None in found or len(notes) != 1 or len(set(texts)) != len(texts):
        return None
    return texts, notes.pop()


def _text(key: Any) -> tuple[str, str] | None:
    kind = type(key)
    if kind is int:
        return str(key), "int"
    if issubclass(kind, Enum):
        members = _members_by_text(kind)
        text = str(key.value)
        return (text, class_name(kind)) if members.get(text) is key else None
    return to_text(key, kind) if kind in SCALARS else None


def _members_by_text(cls: type[Enum]) -> dict[str, Enum]:
    members = {str(member.value): member for member in cls}
    return members if len(members) == len(cls) else {}


def key_reader(note: str) -> Callable[[str], Any]:
    """What makes a key of its text; raises ValueError for an unknown note."""
    if note == "int":
        return int
    if is_text_note(note):
        return lambda text: from_text(note, text)
    cls = find_class(note)
    if cls is None or not issubclass(cls, Enum):
        raise ValueError(f"no enum {note!r}")
    return _members_by_text(cls).__getitem__
