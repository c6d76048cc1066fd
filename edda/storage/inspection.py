"""Records as plain dicts, for people and for programs outside the engine."""

from __future__ import annotations

from datetime import datetime

from pydantic_core import from_json

from edda.storage.records import HistoryRecord, InstanceRecord
from edda.types import JSONObject, JSONValue


def instance(record: InstanceRecord) -> JSONObject:
    """The instance with ISO 8601 times in UTC, input and output parsed."""
    return {
        "instance_id": record.instance_id,
        "workflow_name": record.workflow_name,
        "source_hash": record.source_hash,
        "owner_service": record.owner_service,
        "status": record.status.value,
        "current_activity_id": record.current_activity_id,
        "continued_from": record.continued_from,
        "started_at": record.started_at.isoformat(),
        "updated_at": record.updated_at.isoformat(),
        "input_data": _parsed(record.input_data),
        "source_code": record.source_code,
        "output_data": _parsed(record.output_data),
        "locked_by": record.locked_by,
        "locked_at": _iso(record.locked_at),
        "lock_timeout_seconds": _number(record.lock_timeout_seconds),
    }


def step(record: HistoryRecord) -> JSONObject:
    """One row of the history."""
    return {
        "id": record.id,
        "instance_id": record.instance_id,
        "activity_id": record.activity_id,
        "event_type": record.event_type.value,
        "event_data": _parsed(record.event_data),
        "created_at": record.created_at.isoformat(),
    }


def _parsed(text: str | None) -> JSONValue:
    value: JSONValue = None if text is None else from_json(text)
    return value


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _number(seconds: float | None) -> float | None:
    """Whole seconds as they were given, without a decimal point."""
    return int(seconds) if seconds is not None and seconds.is_integer() else seconds
