"""Errors of operations on channels, and where these operations cannot stand."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from edda.channels.recording import raise_recorded
from edda.codec.errors import dump_error
from edda.codec.json import dumps, loads_object
from edda.storage.records import HistoryRecord
from edda.types import EventType


def record(event_data: str) -> HistoryRecord:
    at = datetime(2030, 1, 1, tzinfo=UTC)
    return HistoryRecord(1, "i", "subscribe_c:1", EventType.CHANNEL_SUBSCRIBED, event_data, at)


def test_a_recorded_error_is_raised_again() -> None:
    failed = record(dumps({"channel": "c", "exception": dump_error(ValueError("no", 7))}))
    with pytest.raises(ValueError) as raised:
        raise_recorded(failed)
    assert raised.value.args == ("no", 7)


def test_a_step_without_an_error_raises_nothing() -> None:
    fine = record('{"channel":"c"}')
    raise_recorded(fine)
    assert loads_object(fine.event_data) == {"channel": "c"}
