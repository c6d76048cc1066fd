"""CloudEvents as requests, and back."""

from __future__ import annotations

from typing import Any

import pytest

from edda.cloudevent import Event
from edda.cloudevent_http import binary, new_client, structured
from edda.endpoints.cloudevents import read_events

ATTRIBUTES = {
    "type": "paid",
    "source": "/s hop",
    "id": "é%\"'7",
    "time": "2024-02-29T12:00:00Z",
    "subject": "o 1",
    "flag": True,
    "number": -3,
}


@pytest.mark.parametrize(
    ("content_type", "data"),
    [
        ("application/json", {"n": [1, None]}),
        ("application/vnd.x+json", "text"),
        ("application/json; charset=utf-8", 0),
        ("image/png", b"\x00\xff"),
        (None, {"n": 1}),
        (None, None),
    ],
)
@pytest.mark.parametrize("form", [structured, binary])
def test_the_endpoint_reads_what_is_written(form: Any, content_type: str | None, data: Any) -> None:
    event = Event({**ATTRIBUTES, "datacontenttype": content_type}, data)
    request = form(event)
    headers = [(name.encode(), value.encode("ascii")) for name, value in request.headers.items()]
    [read] = read_events(headers, request.content)
    for name in ("type", "source", "id", "time", "subject"):
        assert read[name] == event[name]
    assert str(read["number"]) == "-3"
    assert str(read["flag"]).lower() == "true"
    assert read.data == data


def test_bytes_without_a_type_are_only_bytes() -> None:
    request = binary(Event({"type": "t", "source": "/s", "id": "1"}, b"ab"))
    assert (request.headers["content-type"], request.content) == ("application/octet-stream", b"ab")


def test_a_text_that_is_no_json_is_the_body_in_binary_mode_and_a_string_in_structured_mode() -> None:
    event = Event({"type": "t", "source": "/s", "id": "1", "datacontenttype": "text/plain"}, "é")
    assert binary(event).content == "é".encode()
    assert b'"data":"\xc3\xa9"' in structured(event).content


async def test_clients_share_the_certificates() -> None:
    contexts = set()
    for _ in range(2):
        async with new_client(seconds=1, connections=1) as client:
            transport: Any = client._transport
            contexts.add(id(transport._pool._ssl_context))
    assert len(contexts) == 1
