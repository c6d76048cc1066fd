"""The event object: what comes in over HTTP, what event handlers get, what is stored."""

from __future__ import annotations

import base64
import re
import reprlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Protocol, Self, runtime_checkable

from cloudevents.core.v1.event import CloudEvent

from edda.exceptions import InvalidRequiredFields, MissingRequiredFields
from edda.types import JSONObject

SPEC_VERSIONS = ("1.0", "0.3")
REQUIRED_ATTRIBUTES = ("specversion", "id", "source", "type")
_OPTIONAL_TEXTS = ("datacontenttype", "dataschema", "schemaurl", "subject", "time")

_NAME = re.compile(r"[a-z0-9]+")
# What the specification keeps out of texts; PostgreSQL cannot store the first of them.
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


class Event(CloudEvent, Mapping[str, Any]):
    """A CloudEvent of version 1.0 or 0.3 that never changes.

    It is a ``CloudEvent`` of cloudevents 2.x and reads like one of 1.x as well. As a
    mapping it holds the attributes: texts, integers and booleans, ``time`` as the text
    of the event (:meth:`get_time` gives the datetime). ``data`` is any JSON value, or
    bytes, or None when there is none.

    Only ``type`` is required here, and ``specversion`` is 1.0 unless given; see
    :func:`require_attributes` for what an event from outside must have. Attributes
    that are None count as absent. Raises :class:`edda.exceptions.MissingRequiredFields`,
    :class:`edda.exceptions.InvalidRequiredFields` or ValueError, naming the attribute.

    >>> event = Event({"type": "order.created", "source": "/shop", "id": "7"}, {"total": 12})
    >>> event["type"], event.get("subject"), event.data["total"]
    ('order.created', None, 12)
    """

    def __init__(self, attributes: Mapping[str, object], data: Any = None) -> None:
        # The base class would invent an id and a time, and take version 1.0 only.
        self._attributes: dict[str, Any] = _checked(attributes)
        self._payload = bytes(data) if isinstance(data, bytearray | memoryview) else data

    @classmethod
    def of(cls, event: object) -> Event:
        """The same event as an :class:`Event`.

        Takes objects of cloudevents 1.x and 2.x, everything that has ``get_attributes``
        and ``get_data``, and a dict in the structured form. TypeError for the rest.

        >>> Event.of({"type": "ping", "source": "/a", "id": "1", "data": [1]}).data
        [1]
        """
        match event:
            case Event():
                return event
            case _WithGetters():
                return cls(event.get_attributes(), event.get_data())
            case Mapping():
                return cls.from_json_object(event)
            case _WithItems():
                return cls({name: event[name] for name in event}, event.data)
            case _:
                raise TypeError(f"Not a CloudEvent: {type(event).__name__}")

    @classmethod
    def from_json_object(cls, value: Mapping[str, Any]) -> Self:
        r"""The event of a structured form, bytes from ``data_base64``.

        >>> Event.from_json_object({"type": "ping", "data_base64": "AAE="}).data
        b'\x00\x01'
        """
        attributes = dict(value)
        data = attributes.pop("data", None)
        encoded = attributes.pop("data_base64", None)
        if encoded is None and _marks_base64(attributes):
            data, encoded = None, data
        if encoded is None:
            return cls(attributes, data)
        if data is not None:
            raise ValueError("An event has 'data' or 'data_base64', not both")
        return cls(attributes, _decoded(encoded))

    def to_json_object(self) -> JSONObject:
        r"""The structured form, from which :meth:`from_json_object` makes an equal event.

        >>> Event({"type": "ping"}, b"\x00\x01").to_json_object()
        {'type': 'ping', 'specversion': '1.0', 'data_base64': 'AAE='}
        """
        if self._payload is None:
            return self.get_attributes()
        if not isinstance(self._payload, bytes):
            return {**self._attributes, "data": self._payload}
        encoded = base64.b64encode(self._payload).decode()
        if self["specversion"] == "0.3":
            return {**self._attributes, "datacontentencoding": "base64", "data": encoded}
        return {**self._attributes, "data_base64": encoded}

    @property
    def data(self) -> Any:
        """The payload: a JSON value, bytes, or None."""
        return self._payload

    def get_data(self) -> Any:
        """The payload: a JSON value, bytes, or None."""
        return self._payload

    def get_attributes(self) -> dict[str, Any]:
        """A new dict of all attributes."""
        return dict(self._attributes)

    def get_time(self) -> datetime | None:
        """The attribute ``time`` as an aware datetime."""
        text = self._attributes.get("time")
        return None if text is None else datetime.fromisoformat(text.upper())

    def get_dataschema(self) -> str | None:
        """The attribute ``dataschema``, which version 0.3 calls ``schemaurl``."""
        name = "schemaurl" if self["specversion"] == "0.3" else "dataschema"
        return self._attributes.get(name)

    def __getitem__(self, name: str) -> Any:
        return self._attributes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._attributes)

    def __len__(self) -> int:
        return len(self._attributes)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Event):
            return NotImplemented
        return self._attributes == other._attributes and self._payload == other._payload

    # Equal by contents, and those may be lists and dicts.
    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={self.get(name)!r}" for name in ("type", "source", "id"))
        return f"Event({shown})"


@runtime_checkable
class _WithGetters(Protocol):
    def get_attributes(self) -> Mapping[str, object]: ...
    def get_data(self) -> object: ...


@runtime_checkable
class _WithItems(Protocol):
    """The shape of the oldest CloudEvent objects."""

    data: Any

    def __iter__(self) -> Iterator[str]: ...
    def __getitem__(self, name: str, /) -> object: ...


def _marks_base64(attributes: Mapping[str, object]) -> bool:
    encoding = attributes.get("datacontentencoding")
    return (
        attributes.get("specversion") == "0.3" and isinstance(encoding, str) and encoding.lower() == "base64"
    )


def _decoded(encoded: object) -> bytes:
    if not isinstance(encoded, str):
        raise ValueError(f"Base64 data must be a text, not {type(encoded).__name__}")  # noqa: TRY004
    try:
        return base64.b64decode(encoded, validate=True)
    except ValueError as error:
        raise ValueError(f"The data is not valid base64: {error}") from error


def require_attributes(attributes: Mapping[str, object]) -> None:
    """Raise unless ``specversion``, ``id``, ``source`` and ``type`` are there and usable.

    >>> require_attributes({"specversion": "1.0", "id": "1", "source": "/a"})
    Traceback (most recent call last):
    edda.exceptions.MissingRequiredFields: Missing required attribute 'type'
    """
    for name in REQUIRED_ATTRIBUTES:
        _require(attributes, name)


def _require(attributes: Mapping[str, object], name: str) -> None:
    value = attributes.get(name)
    if value is None:
        raise MissingRequiredFields(f"Missing required attribute '{name}'")
    if not isinstance(value, str) or not value:
        raise InvalidRequiredFields(
            f"Invalid required attribute '{name}': must be a non-empty text, not {reprlib.repr(value)}"
        )
    if name == "specversion" and value not in SPEC_VERSIONS:
        raise InvalidRequiredFields(
            f"Invalid required attribute 'specversion': must be '1.0' or '0.3', not {reprlib.repr(value)}"
        )


def _checked(attributes: Mapping[str, object]) -> dict[str, Any]:
    checked: dict[str, Any] = {
        name: _plain(name, value) for name, value in attributes.items() if value is not None
    }
    checked.setdefault("specversion", "1.0")
    for name in REQUIRED_ATTRIBUTES:
        # An event that a program hands over may lack id and source; it is then never a repetition.
        if name in checked or name == "type":
            _require(checked, name)
    for name in _OPTIONAL_TEXTS:
        if name in checked and (not isinstance(checked[name], str) or not checked[name]):
            raise ValueError(f"Invalid attribute '{name}': must be a non-empty text")
    if "time" in checked:
        _check_time(checked["time"])
    if checked["specversion"] == "0.3":
        # It describes the written form; here the data is never encoded.
        checked.pop("datacontentencoding", None)
    return checked


def _plain(name: str, value: object) -> str | int:
    if not _NAME.fullmatch(name) or name == "data":
        raise ValueError(
            f"Invalid attribute name {reprlib.repr(name)}: lower-case letters and digits only, and not 'data'"
        )
    match value:
        case bool():
            return value
        case int():
            return int(value)
        case str():
            return _text(name, value)
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case bytes():
            return base64.b64encode(value).decode()
        case _:
            found = type(value).__name__
            raise ValueError(
                f"Invalid attribute '{name}': must be a text, an integer or a boolean, not {found}"
            )


def _text(name: str, value: str) -> str:
    if _FORBIDDEN.search(value):
        raise ValueError(f"Invalid attribute '{name}': control characters and surrogates are not allowed")
    # The plain text also of a member of an enum that is a str.
    return str.__str__(value)


def _check_time(text: str) -> None:
    try:
        datetime.fromisoformat(text.upper() if _RFC3339.fullmatch(text) else "")
    except ValueError as error:
        raise ValueError(
            f"Invalid attribute 'time': must be RFC 3339 with an offset, not {reprlib.repr(text)}"
        ) from error
