"""The random operations of the oracle on the outbox and on who leads."""

from __future__ import annotations

from edda.storage.upkeep_writes import LeadershipClaimed, LeadershipResigned
from edda.storage.writes_outbox import (
    NewOutboxEvent,
    OutboxEventAdded,
    OutboxLeased,
    OutboxMarked,
    OutboxRequeued,
)
from edda.types import OutboxStatus
from tests.proof.oracle_chooser import RARE, WORKERS, Chooser

_FEW = 4
_OUTCOMES = tuple(status for status in OutboxStatus if status is not OutboxStatus.PROCESSING)


def new_outbox_event(choose: Chooser) -> OutboxEventAdded:
    source = choose.of(("/a", "/b"))
    return OutboxEventAdded(NewOutboxEvent(choose.name("event"), "order.created", source, "{}"))


def outbox_lease(choose: Chooser) -> OutboxLeased:
    return OutboxLeased(choose.name("token"), choose.chance.randint(1, 3), choose.seconds())


def mark(choose: Chooser) -> OutboxMarked | None:
    good = [e for e in choose.leased if (key := choose.world.keys.get(e.source)) and key.token == e.token]
    options = [e for e in (choose.leased if choose.once_in(RARE) else good) if e.source not in choose.used]
    if not options:
        return None
    event = choose.of(options)
    choose.used.add(event.source)
    status = choose.of(
        (*_OUTCOMES * 2, *(OutboxStatus.PUBLISHED, OutboxStatus.PENDING, OutboxStatus.PUBLISHED) * 2)
    )
    following = choose.seconds() if choose.once_in(2) else None
    waits = status is OutboxStatus.PENDING
    return OutboxMarked(
        event,
        status,
        "it broke" if status is not OutboxStatus.PUBLISHED else None,
        failures=event.failures + 1,
        retry_count=event.retry_count + 1,
        delay=choose.seconds() if waits else 0.0,
        for_broker=waits and not choose.once_in(_FEW),
        next_seconds=None if waits else following,
    )


def requeueing(choose: Chooser) -> OutboxRequeued:
    ended = [each.event_id for each in choose.world.events if not each.is_open]
    return OutboxRequeued(choose.of(ended or ["none"]))


def leadership(choose: Chooser) -> LeadershipClaimed:
    return LeadershipClaimed(choose.of(WORKERS), choose.seconds())


def resignation(choose: Chooser) -> LeadershipResigned:
    return LeadershipResigned(choose.of(WORKERS))
