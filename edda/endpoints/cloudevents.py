"""From headers and body of a request to events.

The mode follows from Content-Type alone: ``application/cloudevents+json`` is one event,
``application/cloudevents-batch+json`` an array of them, everything else is the data of
an event whose attributes are in ``ce-`` headers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import unquote_to_bytes

from pydantic_core import from_json

from edda.cloudevent import Event, require_attributes
from edda.exceptions import InvalidEventError, MissingRequiredFields

Headers = Iterable[tuple[bytes, bytes]]


class UnsupportedMediaTypeError(ValueError):
    """The body is in a form that nobody here can read: another format of events, or compressed."""


_HEADERS = ("content-type", "content-encoding")
_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([^\s\";]*)", re.IGNORECASE)
# Reaches the end of the text when the closing quote is missing, so that it never has to go back.
_QUOTED = re.compile(r"\"((?:[^\"\\]|\\.?)*)(\"?)", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def read_events(headers: Headers, body: bytes) -> list[Event]:
    """The events of a request: one, or those of a batch.

    Raises :class:`edda.exceptions.InvalidEventError` for everything that is not valid.

    >>> headers = [(b"ce-specversion", b"1.0"), (b"ce-id", b"1"), (b"ce-source", b"/a"),
    ...            (b"ce-type", b"ping"), (b"content-type", b"application/json")]
    >>> read_events(headers, b"[1, 2]")[0].data
    [1, 2]
    """
    try:
        return _read(_by_name(headers), body)
    except ValueError as error:
        raise InvalidEventError(error) from error


def _by_name(headers: Headers) -> dict[str, bytes]:
    """The headers that matter here; each may come once."""
    found: dict[str, bytes] = {}
    for raw_name, value in headers:
        name = raw_name.decode("latin-1").lower()
        if name not in _HEADERS and not name.startswith("ce-"):
            continue
        if name in found:
            raise ValueError(f"The header '{name}' is there more than once")
        found[name] = value
    return found


def _read(headers: dict[str, bytes], body: bytes) -> list[Event]:
    content_type = _ContentType.of(headers)
    _require_uncompressed(headers.pop("content-encoding", b""))
    match content_type.media_type:
        case "application/cloudevents+json":
            content_type.require_utf8()
            return [_structured(_document(body))]
        case "application/cloudevents-batch+json":
            content_type.require_utf8()
            return _batch(_document(body))
        case media_type if media_type.startswith("application/cloudevents"):
            raise UnsupportedMediaTypeError(f"Unsupported event format '{media_type}'")
        case _:
            return [_binary(headers, content_type, body)]


def _require_uncompressed(encoding: bytes) -> None:
    name = encoding.decode("latin-1").strip().lower()
    if name not in ("", "identity"):
        raise UnsupportedMediaTypeError(f"Unsupported content encoding '{name}'")


@dataclass(frozen=True, slots=True)
class _ContentType:
    text: str | None
    media_type: str

    @classmethod
    def of(cls, headers: dict[str, bytes]) -> Self:
        value = headers.get("content-type", b"").decode("latin-1").strip()
        return cls(value or None, value.partition(";")[0].strip().lower())

    @property
    def is_json(self) -> bool:
        return self.media_type.endswith(("/json", "+json"))

    def require_utf8(self) -> None:
        charset = _CHARSET.search(self.text or "")
        if charset and charset[1].lower() not in {"utf-8", "utf8"}:
            raise ValueError(f"Unsupported charset '{charset[1]}': JSON must be UTF-8")


def _document(body: bytes) -> Any:
    """The JSON that should hold the attributes."""
    if not body:
        raise MissingRequiredFields("Missing required attribute 'specversion': the body is empty")
    try:
        return _parsed(body)
    except ValueError as error:
        raise MissingRequiredFields(f"Cannot read attribute 'specversion': {error}") from error


def _parsed(body: bytes) -> Any:
    try:
        value = from_json(body)
        # NaN and what is too large for a float get this far, and no JSON can hold them again.
        json.dumps(value, allow_nan=False)
    except ValueError as error:
        raise ValueError(f"the body is not valid JSON: {error}") from error
    return value


def _structured(value: object) -> Event:
    if not isinstance(value, dict):
        raise MissingRequiredFields("Cannot read attribute 'specversion': an event must be a JSON object")
    require_attributes(value)
    return Event.from_json_object(value)


def _batch(values: object) -> list[Event]:
    if not isinstance(values, list):
        raise ValueError("A batch must be a JSON array of events")  # noqa: TRY004
    return [_element(index, value) for index, value in enumerate(values)]


def _element(index: int, value: object) -> Event:
    try:
        return _structured(value)
    except ValueError as error:
        raise type(error)(f"[{index}]: {error}") from error


def _binary(headers: dict[str, bytes], content_type: _ContentType, body: bytes) -> Event:
    if "ce-specversion" not in headers:
        raise MissingRequiredFields(
            "Missing required attribute 'specversion': there is no header 'ce-specversion', "
            "and the content type is not 'application/cloudevents+json'"
        )
    attributes: dict[str, str] = {
        name.removeprefix("ce-"): _decoded(name, value)
        for name, value in headers.items()
        if name != "content-type"
    }
    if content_type.text:
        attributes["datacontenttype"] = content_type.text
    require_attributes(attributes)
    return Event(attributes, _binary_data(content_type, body))


def _decoded(name: str, value: bytes) -> str:
    """The text of a header: quoted strings resolved, then percent-encoding, in one round."""
    try:
        text = _QUOTED.sub(_unquoted, value.decode())
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"The header '{name}' is not valid UTF-8") from error


def _unquoted(match: re.Match[str]) -> str:
    return _ESCAPED.sub(r"\1", match[1]) if match[2] else match[0]


def _binary_data(content_type: _ContentType, body: bytes) -> Any:
    if content_type.text and not content_type.is_json:
        return body
    if not body:
        return None
    content_type.require_utf8()
    try:
        return _parsed(body)
    except ValueError:
        if content_type.text:
            raise
        return body
