"""What may be asked of ``find_instances``: the criteria, and the places between its pages."""

from __future__ import annotations

import json
import math
import re
import sys
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

from edda.codec.json import dumps, loads
from edda.types import JSONValue, Status

Scalar: TypeAlias = str | bool | int | float | None

_PATH = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.]*")
_MISSING = object()
LARGEST_FLOAT = sys.float_info.max


@dataclass(frozen=True, slots=True)
class Place:
    """The instance behind which a page begins: what comes before it in the order was shown."""

    started_at: datetime
    instance_id: str

    @property
    def token(self) -> str:
        """The text that stands for the place; opaque for callers.

        >>> Place.of_token(Place(datetime(2026, 1, 2, tzinfo=UTC), "a").token).instance_id
        'a'
        """
        parts = [self.started_at.isoformat(), self.instance_id]
        return urlsafe_b64encode(json.dumps(parts).encode()).decode()

    @classmethod
    def of_token(cls, token: str) -> Place:
        """The place that a token stands for; ValueError if it is none."""
        try:
            started_at, instance_id = json.loads(urlsafe_b64decode(token.encode("ascii")))
            moment = datetime.fromisoformat(started_at)
        except (ValueError, TypeError, AttributeError, RecursionError):
            raise ValueError("Invalid page token") from None
        if moment.tzinfo is None or not isinstance(instance_id, str):
            raise ValueError("Invalid page token")
        return cls(moment, instance_id)


@dataclass(frozen=True, slots=True)
class InputFilter:
    """The value that the input of an instance must have at a path."""

    path: tuple[str, ...]
    value: Scalar

    def matches(self, data: JSONValue) -> bool:
        """Whether the parsed input has the value: of the same JSON type, None also where nothing is.

        >>> InputFilter(("order", "paid"), True).matches({"order": {"paid": True}})
        True
        >>> InputFilter(("count",), True).matches({"count": 1})
        False
        """
        found: Any = data
        for key in self.path:
            found = found.get(key, _MISSING) if isinstance(found, dict) else _MISSING
        if self.value is None:
            return found is None or found is _MISSING
        return _json_type(found) == _json_type(self.value) and bool(found == self.value)

    def signs(self) -> list[str]:
        """Texts one of which stands in the stored input of every instance that matches; empty: none need be.

        So the database can leave out almost everything, and what JSON is to each database does not matter.
        """
        if self.value is None:
            return []
        # The other writer is for inputs with a lone surrogate in them.
        texts = {write(value) for value in _spellings(self.value) for write in (dumps, json.dumps)}
        return [f'"{self.path[-1]}":{text}' for text in sorted(texts)]


def _json_type(value: object) -> type:
    return float if isinstance(value, int | float) and not isinstance(value, bool) else type(value)


def _spellings(value: str | float) -> list[str | float]:
    """The value, and an equal one that is written in another way."""
    if isinstance(value, bool | str):
        return [value]
    if isinstance(value, int):
        is_float = abs(value) < LARGEST_FLOAT and float(value) == value
        return [value, float(value)] if is_float else [value]
    return [value, int(value)] if value.is_integer() else [value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """The criteria, checked; all of them must hold."""

    input_filters: tuple[InputFilter, ...] = ()
    status: Status | None = None
    workflow_name: str | None = None
    instance_id: str | None = None
    started_after: datetime | None = None
    started_before: datetime | None = None
    limit: int = 50
    after: Place | None = None

    @classmethod
    def of(
        cls,
        *,
        input_filters: Mapping[str, Any] | None,
        status: str | None,
        started_after: datetime | None,
        started_before: datetime | None,
        limit: int,
        page_token: str | None,
        workflow_name: str | None,
        instance_id: str | None,
    ) -> Search:
        """The criteria as ``find_instances`` takes them; ValueError says which of them is wrong."""
        if limit < 1:
            raise ValueError(f"limit must be at least 1, not {limit}")
        return cls(
            input_filters=tuple(_input_filter(path, value) for path, value in (input_filters or {}).items()),
            status=None if status is None else _status(status),
            workflow_name=workflow_name,
            instance_id=instance_id,
            started_after=_aware(started_after),
            started_before=_aware(started_before),
            limit=limit,
            after=None if page_token is None else Place.of_token(page_token),
        )

    def matches_input(self, text: str) -> bool:
        """Whether the stored input of an instance is one of those that are looked for."""
        if not self.input_filters:
            return True
        data = loads(text)
        return all(each.matches(data) for each in self.input_filters)


def _input_filter(path: str, value: object) -> InputFilter:
    if not _PATH.fullmatch(str(path)):
        raise ValueError(f"Invalid JSON path: {path}")
    match value:
        case float() if not math.isfinite(value):
            raise ValueError(f"The value looked for at {path} must be a finite number, not {value}")
        case str() | bool() | int() | float() | None:
            return InputFilter(tuple(path.split(".")), value)
    kind = type(value).__name__
    raise ValueError(f"The value looked for at {path} must be a string, number, boolean or None, not {kind}")


def _status(status: str) -> Status:
    try:
        return Status(status)
    except ValueError:
        known = ", ".join(each.value for each in Status)
        raise ValueError(f"Unknown status {status!r}; there are: {known}") from None


def _aware(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment
