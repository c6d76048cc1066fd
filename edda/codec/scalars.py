"""Single values that JSON has no type for, as text: times, numbers, ids and bytes."""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import TypeAdapter


@cache
def _durations() -> TypeAdapter[dt.timedelta]:
    # Made when the first one is read: pydantic imports a good deal more for its first adapter.
    return TypeAdapter(dt.timedelta)


def to_text(value: Any, kind: type) -> tuple[str, str]:
    """The text of a value of one of the types of ``SCALARS``, and the note that gives its type back.

    Times are ISO 8601, durations too, bytes are base64. The zone of a time is part of
    the note, because the text holds only its offset.

    >>> to_text(dt.timedelta(days=1, seconds=2.5), dt.timedelta)
    ('P1DT2.5S', 'timedelta')
    >>> to_text(Decimal("1.50"), Decimal)
    ('1.50', 'Decimal')
    """
    return _WRITERS[kind](value)


def from_text(note: str, text: str) -> Any:
    """The value of a text and its note; raises ValueError for text that is none.

    >>> from_text("Decimal", "1.50")
    Decimal('1.50')
    """
    kind, _, argument = note.partition("@")
    return _READERS[kind](text, argument)


def is_text_note(note: str) -> bool:
    """Whether a note is one of those of this module."""
    return note.partition("@")[0] in _READERS


def _zoned(kind: str, tzinfo: dt.tzinfo | None) -> str:
    key = tzinfo.key if isinstance(tzinfo, ZoneInfo) else None
    return kind if key is None else f"{kind}@{key}"


def _write_datetime(value: dt.datetime) -> tuple[str, str]:
    return value.isoformat(), _zoned("datetime", value.tzinfo)


def _read_datetime(text: str, zone: str) -> dt.datetime:
    value = dt.datetime.fromisoformat(text)
    if not zone:
        return value
    local = value.replace(tzinfo=_zone(zone))
    # The offset in the text tells the two passes of a repeated hour apart.
    for candidate in (local, local.replace(fold=1)):
        if candidate.utcoffset() == value.utcoffset():
            return candidate
    # The rules of the zone have changed since; the instant stays.
    return value.astimezone(local.tzinfo)


def _zone(key: str) -> ZoneInfo:
    try:
        return ZoneInfo(key)
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"unknown time zone {key!r}") from error


def _write_time(value: dt.time) -> tuple[str, str]:
    return value.isoformat(), _zoned("time", value.tzinfo)


def _read_time(text: str, zone: str) -> dt.time:
    value = dt.time.fromisoformat(text)
    return value.replace(tzinfo=_zone(zone)) if zone else value


def _write_duration(value: dt.timedelta) -> tuple[str, str]:
    sign, span = ("-", -value) if value.days < 0 and value != dt.timedelta.min else ("", value)
    days, seconds = span.days, span.seconds
    fraction = f".{span.microseconds:06d}".rstrip("0").rstrip(".")
    if value == dt.timedelta.min:  # it has no positive counterpart
        sign, days = "-", -value.days
    return f"{sign}P{days}DT{seconds}{fraction}S", "timedelta"


def _read_duration(text: str, _argument: str) -> dt.timedelta:
    return _durations().validate_python(text)


def _write_bytes(value: bytes) -> tuple[str, str]:
    return base64.b64encode(value).decode(), "bytes"


_WRITERS: dict[type, Callable[[Any], tuple[str, str]]] = {
    dt.datetime: _write_datetime,
    dt.date: lambda value: (value.isoformat(), "date"),
    dt.time: _write_time,
    dt.timedelta: _write_duration,
    Decimal: lambda value: (str(value), "Decimal"),
    UUID: lambda value: (str(value), "UUID"),
    bytes: _write_bytes,
}
# A datetime is a date too, so it comes first.
SCALARS = tuple(_WRITERS)
_READERS: dict[str, Callable[[str, str], Any]] = {
    "datetime": _read_datetime,
    "date": lambda text, _: dt.date.fromisoformat(text),
    "time": _read_time,
    "timedelta": _read_duration,
    "Decimal": lambda text, _: Decimal(text),
    "UUID": lambda text, _: UUID(text),
    "bytes": lambda text, _: base64.b64decode(text, validate=True),
}
