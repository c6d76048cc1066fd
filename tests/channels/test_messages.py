"""Payloads and metadata as they are stored."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from datetime import UTC, date, datetime
from typing import Any

import pytest

from edda.channels.messages import ChannelMessage, as_event, check_channel, dump_payload, load_message
from edda.codec.json import dumps, loads
from edda.exceptions import PayloadTooLargeError


def stored(data: Any, metadata: dict[str, Any] | None = None, **added: str) -> ChannelMessage:
    payload = dump_payload(data, metadata, limit=1000, **added)
    fields = {
        "id": "m-1",
        "channel": "c",
        "data": loads(payload.data),
        "metadata": loads(payload.metadata),
        "published_at": "2030-01-01T00:00:00+00:00",
    }
    if payload.types is not None:
        fields["types"] = loads(payload.types)
    return load_message(dumps(fields))


@pytest.mark.parametrize("data", [b"\x00\xff", [1], "x", None, {"due": date(2030, 1, 1)}, {"a": (1, {2})}])
def test_a_payload_comes_back_as_it_was(data: Any) -> None:
    assert stored(data).data == data


def test_what_the_publisher_says_stands_over_what_is_added() -> None:
    message = stored(1, {"by": "me"}, by="library", at="now")
    assert message.metadata == {"by": "me", "at": "now"}
    assert message.published_at == datetime(2030, 1, 1, tzinfo=UTC)


def test_payload_and_metadata_have_a_limit() -> None:
    with pytest.raises(PayloadTooLargeError, match="payload"):
        stored("x" * 1000)
    with pytest.raises(PayloadTooLargeError, match="metadata"):
        stored(1, {"x": "x" * 1000})


def test_a_message_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        stored(1).data = 2  # type: ignore[misc]


def test_a_message_that_was_no_event_becomes_one_of_an_unknown_source() -> None:
    event = as_event(stored([1]), "paid", [1])
    assert (event.data, event.type, event.source, event.id) == ([1], "paid", "unknown", "m-1")
    assert (event.time, event.subject, event.extensions) == (None, None, {})


def test_a_channel_name_may_have_200_characters() -> None:
    assert check_channel("x" * 200) == "x" * 200
