"""The model of the oracle: the outbox with its keys, and who leads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edda.storage.upkeep_writes import LeadershipClaimed, LeadershipResigned
from edda.storage.writes import Write
from edda.storage.writes_outbox import (
    BrokerReturned,
    OutboxEventAdded,
    OutboxLeased,
    OutboxMarked,
    OutboxPurged,
    OutboxRequeued,
)
from edda.types import OutboxStatus
from tests.proof.oracle_instances import half_hours
from tests.proof.oracle_world import Event, Key, Leader, World


def add(world: World, write: OutboxEventAdded) -> None:
    world.events.append(Event(write.event.event_id, write.event.source, arrived=world.now))
    world.done["outbox: add"] += 1


def lease(world: World, write: OutboxLeased, taken: Any) -> Any:
    """The keys due longest, at most so many, and the first event of each.

    Of those due at the same moment the database chooses.
    """
    arrived = [event for event in world.events if event.arrived is not None]
    for event in sorted(arrived, key=lambda event: event.arrived or 0.0):
        world.keys.setdefault(event.source, Key(due=event.arrived or 0.0))
        event.arrived = None
    due = [source for source, key in world.keys.items() if key.due <= world.now]
    sources = {event.source for event in taken}
    due.sort(key=lambda source: (world.keys[source].due, source not in sources))
    events = [_take_first(world, key, write.token, write.seconds) for key in due[: write.limit]]
    world.done["outbox: lease"] += any(events)
    return tuple(sorted(shown(event, write.token) for event in events if event is not None))


def shown(event: Event, token: str) -> Any:
    return ("event", event.event_id, token, event.failures, event.retry_count, event.error or "")


def _take_first(world: World, source: str, token: str, seconds: float) -> Event | None:
    first = next((event for event in world.events if event.source == source and event.is_open), None)
    if first is None:
        del world.keys[source]
        return None
    world.keys[source] = Key(world.now + seconds, token)
    first.status, first.arrived = OutboxStatus.PROCESSING, None
    return first


def mark(world: World, write: OutboxMarked) -> Any:
    source = write.event.source
    key = world.keys.get(source)
    if key is None or key.token != write.event.token:
        world.done["outbox: mark under a stale token"] += 1
        return None
    event = next((event for event in world.events if event.event_id == write.event.event_id), None)
    stays = write.status is OutboxStatus.PENDING
    if event is not None and event.status is OutboxStatus.PROCESSING:
        event.status, event.is_open, event.error = write.status, stays, write.error
        event.failures, event.retry_count = write.failures, write.retry_count
        event.published = world.now if write.status is OutboxStatus.PUBLISHED else None
        world.done[f"outbox: mark {write.status}"] += 1
    if not stays and write.next_seconds is not None:
        following = _take_first(world, source, write.event.token, write.next_seconds)
        world.done["outbox: go on with the next one"] += following is not None
        return None if following is None else shown(following, write.event.token)
    if stays or any(event.source == source and event.is_open for event in world.events):
        world.keys[source] = Key(world.now + write.delay, for_broker=write.for_broker)
    else:
        del world.keys[source]
    return None


def note_broker(world: World, write: BrokerReturned) -> None:
    for key in world.keys.values():
        if key.for_broker and key.due > world.now:
            key.due, key.for_broker = world.now, False
            world.done["outbox: the broker is back"] += 1


def requeue(world: World, write: OutboxRequeued) -> bool:
    given_up = (OutboxStatus.FAILED, OutboxStatus.INVALID, OutboxStatus.EXPIRED)
    found = [each for each in world.events if each.event_id == write.event_id and each.status in given_up]
    for event in found:
        event.status, event.is_open, event.arrived = OutboxStatus.PENDING, True, world.now
        event.failures = event.retry_count = 0
    world.done["outbox: requeue"] += bool(found)
    return bool(found)


def purge(world: World, write: OutboxPurged) -> int:
    before = world.now - write.older_than
    old = [event for event in world.events if event.published is not None and event.published < before]
    world.events = [event for event in world.events if event not in old]
    world.done["outbox: retention"] += bool(old)
    return len(old)


def lead(world: World, write: LeadershipClaimed) -> Any:
    leader = world.leader
    if leader is not None and leader.owner != write.owner and leader.expires > world.now:
        world.done["leadership refused"] += 1
        return ("leads", False, half_hours(leader.expires - world.now))
    world.leader = Leader(write.owner, world.now + write.seconds)
    world.done["leadership claimed"] += 1
    return ("leads", True, half_hours(write.seconds))


def resign(world: World, write: LeadershipResigned) -> None:
    if world.leader is not None and world.leader.owner == write.owner:
        world.leader = Leader(None, world.now)
        world.done["leadership resigned"] += 1


HANDLERS: dict[type[Write[Any]], Callable[[World, Any], Any]] = {
    OutboxEventAdded: add,
    OutboxRequeued: requeue,
    OutboxMarked: mark,
    BrokerReturned: note_broker,
    OutboxPurged: purge,
    LeadershipClaimed: lead,
    LeadershipResigned: resign,
}
