"""The writes about the outbox: what a run adds to it, and what relayers do with that."""

from __future__ import annotations

from dataclasses import dataclass

from edda.storage.records import LeasedEvent
from edda.storage.writes import Write
from edda.types import DataForm, OutboxStatus


@dataclass(frozen=True, slots=True)
class NewOutboxEvent:
    """An event to be sent; ``data`` and ``extensions`` as JSON text, bytes as base64 text."""

    event_id: str
    event_type: str
    source: str
    data: str
    form: DataForm = DataForm.JSON
    content_type: str = "application/json"
    subject: str | None = None
    extensions: str | None = None


@dataclass(frozen=True, slots=True)
class OutboxEventAdded(Write[None]):
    """An event recorded to be sent; as the effect of a step it exists only together with it."""

    event: NewOutboxEvent


@dataclass(frozen=True, slots=True)
class OutboxLeased(Write[tuple[LeasedEvent, ...]]):
    """The first events of so many keys that are due, leased to the relayer with this token.

    A key has one lease at a time, so its events are sent one after the other. ``token`` is
    a new one for each write.
    """

    token: str
    limit: int
    seconds: float


@dataclass(frozen=True, slots=True)
class OutboxMarked(Write["LeasedEvent | None"]):
    """What became of a leased event; changes nothing when the lease has gone to another relayer.

    A final ``status`` frees the key for its next event, which is the answer if
    ``next_seconds`` asks for it under the same lease, prolonged to that. ``PENDING`` has
    the key wait for ``delay`` seconds, or until the broker is back (``for_broker``).
    """

    event: LeasedEvent
    status: OutboxStatus
    error: str | None = None
    failures: int = 0
    retry_count: int = 0
    delay: float = 0.0
    for_broker: bool = False
    next_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class BrokerReturned(Write[None]):
    """All keys that wait for the broker are due now."""


@dataclass(frozen=True, slots=True)
class OutboxRequeued(Write[bool]):
    """An event that was given up is to be sent after all; answered with whether there is such a one."""

    event_id: str


@dataclass(frozen=True, slots=True)
class OutboxPurged(Write[int]):
    """Events published longer ago than this are removed, the oldest first; answered with how many."""

    older_than: float
    limit: int
