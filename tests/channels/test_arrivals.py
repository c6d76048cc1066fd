"""Events as messages."""

from __future__ import annotations

from typing import Any

import pytest

from edda.channels.arrivals import message_of
from edda.cloudevent import Event
from edda.codec.json import loads


def event(data: Any = None, **attributes: Any) -> Event:
    return Event({"type": "paid", "source": "shop", "id": "e-1"} | attributes, data)


def test_attributes_become_metadata_and_extensions_stand_apart() -> None:
    message = message_of(event({"n": 1}, subject="s", color="red", eddainstanceid="i-1"))
    metadata: Any = loads(message.metadata)
    assert "published_at" in metadata
    del metadata["published_at"]
    assert metadata == {
        "ce_type": "paid",
        "ce_source": "shop",
        "ce_id": "e-1",
        "ce_time": None,
        "ce_datacontenttype": None,
        "ce_subject": "s",
        "ce_extensions": {"color": "red", "eddainstanceid": "i-1"},
    }
    assert (message.channel, message.target, message.data) == ("paid", "i-1", '{"n":1}')


def test_an_event_without_extensions_is_for_everybody() -> None:
    message = message_of(event(b"\x00"))
    assert (message.target, "ce_extensions" in message.metadata) == (None, False)


def test_a_type_has_to_fit_a_channel() -> None:
    with pytest.raises(ValueError, match="the name of a channel"):
        message_of(event(type="x" * 201))
