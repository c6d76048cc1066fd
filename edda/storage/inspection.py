"""Records as plain dicts, for people and for programs outside the engine."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from edda.codec.json import loads
from edda.codec.payloads import load_payload
from edda.storage.records import DeadLetterRecord, HistoryRecord, InstanceRecord, OutboxRecord
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
        "due_at": _iso(record.due_at),
        "attempts": record.attempts,
        "last_error": record.last_error,
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


def outbox_event(record: OutboxRecord) -> dict[str, Any]:
    """One event of the outbox, its data parsed or as bytes."""
    return {
        "event_id": record.event_id,
        "event_type": record.event_type,
        "event_source": record.event_source,
        "event_data": load_payload(record.event_data, record.form),
        "content_type": record.content_type,
        "created_at": record.created_at.isoformat(),
        "status": record.status.value,
        "retry_count": record.retry_count,
        "last_error": record.last_error,
        "published_at": _iso(record.published_at),
    }


def dead_letter(record: DeadLetterRecord) -> JSONObject:
    """An event whose handlers gave up, and why."""
    return {
        "instance_id": record.instance_id,
        "owner_service": record.owner_service,
        "event": _part(record.input_data, "event"),
        "error": _parsed(record.output_data),
        "failed_handlers": {step: _parsed(text) for step, text in record.failures},
        "failed_at": record.failed_at.isoformat(),
    }


def _part(text: str, name: str) -> JSONValue:
    value = _parsed(text)
    return value.get(name) if isinstance(value, dict) else None


def _parsed(text: str | None) -> JSONValue:
    return None if text is None else loads(text)


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _number(seconds: float | None) -> float | None:
    """Whole seconds as they were given, without a decimal point."""
    return int(seconds) if seconds is not None and seconds.is_integer() else seconds
