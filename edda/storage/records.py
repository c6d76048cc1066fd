"""Typed rows: what storage hands out and takes in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from edda.types import EventType, Status, WaitKind


@dataclass(frozen=True, slots=True)
class Lease:
    """The right of one worker to run one instance; each acquisition has a larger token."""

    instance_id: str
    owner: str
    token: int
    seconds: float


@dataclass(frozen=True, slots=True)
class InstanceRecord:
    """One instance, times in UTC, ``input_data`` and ``output_data`` as JSON text."""

    instance_id: str
    workflow_name: str
    source_hash: str
    owner_service: str
    status: Status
    current_activity_id: str | None
    continued_from: str | None
    started_at: datetime
    updated_at: datetime
    input_data: str
    output_data: str | None
    source_code: str | None
    locked_by: str | None
    locked_at: datetime | None
    lock_timeout_seconds: float | None
    due_at: datetime | None
    attempts: int
    last_error: str | None


@dataclass(frozen=True, slots=True)
class ClaimedInstance:
    """An instance that this worker may run now, with the lease that says so.

    ``attempts`` counts the runs that died since the last orderly end of one.
    """

    lease: Lease
    workflow_name: str
    status: Status
    input_data: str
    input_types: str | None
    lock_timeout_seconds: float | None
    attempts: int


@dataclass(frozen=True, slots=True)
class HistoryRecord:
    """One recorded step; ``event_data`` as JSON text."""

    id: int
    instance_id: str
    activity_id: str
    event_type: EventType
    event_data: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class WaitRecord:
    """An open wait; ``remaining`` is seconds until it is due by the database's clock, None: never."""

    activity_id: str
    kind: WaitKind
    remaining: float | None
    due_at: datetime | None
    data: str | None
