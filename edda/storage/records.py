"""Typed rows: what storage hands out and takes in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from edda.types import ChannelMode, DataForm, EventType, OutboxStatus, Status, WaitKind


@dataclass(frozen=True, slots=True)
class Lease:
    """The right of one worker to run one instance; each acquisition has a larger token."""

    instance_id: str
    owner: str
    token: int
    seconds: float


def under_next_token(lease: Lease) -> Lease:
    """The lease as it goes on after a request to cancel."""
    return replace(lease, token=lease.token + 1)


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

    ``attempts`` counts the runs that died since the last orderly end of one. ``chain_id``
    is as in :class:`~edda.storage.writes.NewInstance`. A ``cancelled`` one is to be rolled
    back and ended, its body is not run.
    """

    lease: Lease
    workflow_name: str
    status: Status
    input_data: str
    input_types: str | None
    lock_timeout_seconds: float | None
    attempts: int
    chain_id: str | None = None
    cancelled: bool = False

    @property
    def subscriber(self) -> str:
        """The id under which the subscriptions of its chain of recurs are kept."""
        return self.chain_id or self.lease.instance_id


@dataclass(frozen=True, slots=True)
class DeadLetterRecord:
    """An event whose handlers gave up: input, output and (step, its row) for each of them, as JSON text."""

    instance_id: str
    owner_service: str
    input_data: str
    output_data: str | None
    failed_at: datetime
    failures: tuple[tuple[str, str], ...]


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
class Subscription:
    """One subscription of a chain of recurs."""

    channel: str
    mode: ChannelMode


@dataclass(frozen=True, slots=True)
class WaitRecord:
    """An open wait; ``remaining`` is seconds until it is due by the database's clock, None: never."""

    activity_id: str
    kind: WaitKind
    remaining: float | None
    due_at: datetime | None
    data: str | None
    channel: str | None = None


@dataclass(frozen=True, slots=True)
class StoredRun:
    """What a run goes on from: the steps in the order of recording, the open waits, the subscriptions."""

    history: Sequence[HistoryRecord]
    waits: Sequence[WaitRecord]
    subscriptions: Sequence[Subscription]


@dataclass(frozen=True, slots=True)
class LeasedEvent:
    """An event of the outbox that this relayer may send now, until its lease ends.

    ``data`` and ``extensions`` are JSON text, and bytes are the base64 text of
    ``DataForm.BASE64``. ``age`` is seconds since it was recorded, ``failures`` counts all
    failed attempts, ``retry_count`` those that count towards giving up.
    """

    id: int
    ordering_key: str
    token: str
    event_id: str
    event_type: str
    source: str
    subject: str | None
    extensions: str | None
    content_type: str
    data: str
    form: DataForm
    created_at: datetime
    age: float
    failures: int
    retry_count: int
    last_error: str | None


@dataclass(frozen=True, slots=True)
class OutboxRecord:
    """One event of the outbox, as people see it."""

    event_id: str
    event_type: str
    event_source: str
    event_data: str
    form: DataForm
    content_type: str
    created_at: datetime
    status: OutboxStatus
    retry_count: int
    last_error: str | None
    published_at: datetime | None
