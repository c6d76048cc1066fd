"""Events that leave together with the work that made them: recorded in its transaction, sent after it."""

from __future__ import annotations

from edda.outbox.answers import Postponed, Published, Refused
from edda.outbox.publisher import Publisher
from edda.outbox.relayer import OutboxRelayer
from edda.outbox.transactional import send_event_transactional

__all__ = ["OutboxRelayer", "Postponed", "Published", "Publisher", "Refused", "send_event_transactional"]
