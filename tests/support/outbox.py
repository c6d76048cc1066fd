"""Short ways to fill the outbox in tests, and to do what relayers do."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from edda.storage.protocol import WriterPort
from edda.storage.records import LeasedEvent
from edda.storage.writes_outbox import NewOutboxEvent, OutboxEventAdded, OutboxLeased, OutboxMarked
from edda.types import OutboxStatus

_numbers = itertools.count(1)


def new_event(event_id: str | None = None, **fields: Any) -> NewOutboxEvent:
    """An event with a key of its own, unless a ``source`` is given."""
    number = next(_numbers)
    usual = {"event_type": "order.created", "source": f"/shop/{number}", "data": "{}"}
    return NewOutboxEvent(event_id or f"event-{number}", **(usual | fields))


async def add(storage: WriterPort, *event_ids: str, **fields: Any) -> None:
    """Add events one after the other, as so many steps would."""
    for event_id in event_ids:
        await storage.submit(OutboxEventAdded(new_event(event_id, **fields)))


async def lease(
    storage: WriterPort, limit: int = 10, *, seconds: float = 60.0, token: str | None = None
) -> Sequence[LeasedEvent]:
    """Lease as a relayer would; with negative ``seconds`` as one that has died since."""
    return await storage.submit(OutboxLeased(token or f"token-{next(_numbers)}", limit, seconds))


async def mark(
    storage: WriterPort, event: LeasedEvent, status: OutboxStatus = OutboxStatus.PUBLISHED, **fields: Any
) -> LeasedEvent | None:
    return await storage.submit(OutboxMarked(event, status, **fields))


def ids(events: Sequence[LeasedEvent]) -> list[str]:
    return [event.event_id for event in events]
