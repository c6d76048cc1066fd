"""CloudEvents as HTTP requests: structured or binary, and the client that posts them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from edda.cloudevent import Event
from edda.codec.json import dumps

if TYPE_CHECKING:
    import ssl

    import httpx2

# What the specification lets through unencoded: printable ASCII without space, " and %.
_SAFE = "".join(map(chr, range(0x21, 0x7F))).replace('"', "").replace("%", "")


@dataclass(frozen=True, slots=True)
class EventRequest:
    """The headers and the body by which an event is posted."""

    headers: dict[str, str]
    content: bytes


Form = Callable[[Event], EventRequest]


def structured(event: Event) -> EventRequest:
    """The event as one JSON document.

    >>> structured(Event({"type": "ping", "source": "/a", "id": "1"}, [1])).content
    b'{"type":"ping","source":"/a","id":"1","specversion":"1.0","data":[1]}'
    """
    return EventRequest(
        {"content-type": "application/cloudevents+json"}, dumps(event.to_json_object()).encode()
    )


def binary(event: Event) -> EventRequest:
    """The attributes as headers, the data as the body.

    >>> request = binary(Event({"type": "ping", "source": "/a b", "id": "1"}, {"n": 1}))
    >>> request.headers["ce-source"], request.headers["content-type"], request.content
    ('/a%20b', 'application/json', b'{"n":1}')
    """
    attributes = event.get_attributes()
    content_type = attributes.pop("datacontenttype", None)
    headers = {f"ce-{name}": _header(value) for name, value in attributes.items()}
    if event.data is None:
        return EventRequest(headers, b"")
    if content_type is None:
        content_type = "application/octet-stream" if isinstance(event.data, bytes) else "application/json"
    return EventRequest({**headers, "content-type": content_type}, _body(event.data, content_type))


def _header(value: object) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return quote(text, safe=_SAFE)


def _body(data: Any, content_type: str) -> bytes:
    if isinstance(data, bytes):
        return data
    media_type = content_type.partition(";")[0].strip().lower()
    if isinstance(data, str) and not media_type.endswith(("/json", "+json")):
        return data.encode()
    return dumps(data).encode()


def new_client(*, seconds: float, connections: int) -> httpx2.AsyncClient:
    """A client with a pool of so many connections; an answer that redirects is an answer."""
    import httpx2

    return httpx2.AsyncClient(
        verify=_tls(),
        timeout=seconds,
        follow_redirects=False,
        limits=httpx2.Limits(max_connections=connections, max_keepalive_connections=connections),
    )


@cache
def _tls() -> ssl.SSLContext:
    # Reading the certificates takes longer than many a request.
    import httpx2

    return httpx2.create_ssl_context()
