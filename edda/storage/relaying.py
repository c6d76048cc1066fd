"""What relayers do with the outbox, each in one transaction: lease, mark, go on."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from edda.storage import outbox, outbox_keys
from edda.storage.dialects.base import Attempt, Dialect
from edda.storage.records import LeasedEvent
from edda.storage.writes_outbox import BrokerReturned, OutboxLeased, OutboxMarked
from edda.types import OutboxStatus

# New events are given their keys many at a time, so that those of one key do not keep
# those of another one waiting.
_ARRIVALS = 500

_Taken = tuple[str, str, float]


def lease(
    connection: Connection, dialect: Dialect, writes: Sequence[OutboxLeased], attempt: Attempt
) -> list[tuple[LeasedEvent, ...]]:
    """Lease the keys that are due longest, and return the first event of each."""
    _receive(connection, dialect)
    return [_lease(connection, dialect, write, attempt) for write in writes]


def _receive(connection: Connection, dialect: Dialect) -> None:
    """Give new events their keys; a key that another relayer is busy with is left for the next time."""
    arrived = outbox.find_arrived(connection, dialect, limit=_ARRIVALS)
    if not arrived:
        return
    first_arrivals = {row.ordering_key: row.arrived_at for row in reversed(arrived)}
    ours = outbox_keys.open_up(connection, dialect, first_arrivals)
    if seen := [row.id for row in arrived if row.ordering_key in ours]:
        outbox.note_seen(connection, dialect, seen)


def _lease(
    connection: Connection, dialect: Dialect, write: OutboxLeased, attempt: Attempt
) -> tuple[LeasedEvent, ...]:
    keys = outbox_keys.find_due(connection, dialect, limit=write.limit)
    if attempt is Attempt.UNCERTAIN:  # this very write may have leased some already
        keys += outbox_keys.find_leased(connection, dialect, write.token)
    events = _take_first(connection, dialect, [(key, write.token, write.seconds) for key in keys])
    return tuple(sorted(events.values(), key=lambda event: event.id))


def mark(
    connection: Connection, dialect: Dialect, writes: Sequence[OutboxMarked], attempt: Attempt
) -> list[LeasedEvent | None]:
    """Write down what became of leased events, and answer with the next ones of their keys."""
    tokens = outbox_keys.lock(connection, dialect, (write.event.ordering_key for write in writes))
    held = [write for write in writes if tokens.get(write.event.ordering_key) == write.event.token]
    if held:
        outbox.mark(connection, dialect, held)
    if waiting := [write for write in held if write.status is OutboxStatus.PENDING]:
        outbox_keys.wait(connection, dialect, waiting)
    ended = [write for write in held if write.status is not OutboxStatus.PENDING]
    following = _go_on(connection, dialect, ended)
    return [following.get(write.event.ordering_key) for write in writes]


def _go_on(connection: Connection, dialect: Dialect, ended: Sequence[OutboxMarked]) -> dict[str, LeasedEvent]:
    taken: list[_Taken] = [
        (write.event.ordering_key, write.event.token, write.next_seconds)
        for write in ended
        if write.next_seconds is not None
    ]
    left = [write for write in ended if write.next_seconds is None]
    if left:
        firsts = outbox.find_firsts(connection, dialect, [write.event.ordering_key for write in left])
        _close_without(connection, dialect, [write.event.ordering_key for write in left], firsts)
        if more := [write for write in left if write.event.ordering_key in firsts]:
            outbox_keys.wait(connection, dialect, more)
    return _take_first(connection, dialect, taken)


def _take_first(connection: Connection, dialect: Dialect, taken: Sequence[_Taken]) -> dict[str, LeasedEvent]:
    """Lease keys whose rows are locked, and return the first event of each by key."""
    if not taken:
        return {}
    keys = [key for key, _, _ in taken]
    firsts = outbox.find_firsts(connection, dialect, keys)
    _close_without(connection, dialect, keys, firsts)
    granted = [lease for lease in taken if lease[0] in firsts]
    if not granted:
        return {}
    outbox_keys.lease(connection, dialect, granted)
    return outbox.begin(connection, dialect, [(firsts[key], token) for key, token, _ in granted])


def _close_without(
    connection: Connection, dialect: Dialect, keys: Sequence[str], firsts: dict[str, int]
) -> None:
    # Nothing can arrive unseen meanwhile: a new event waits among the arrivals, not here.
    if empty := [key for key in keys if key not in firsts]:
        outbox_keys.close(connection, dialect, empty)


def note_broker_returned(
    connection: Connection, dialect: Dialect, writes: Sequence[BrokerReturned], attempt: Attempt
) -> list[None]:
    """End the waits for the broker."""
    outbox_keys.end_waits(connection, dialect)
    return [None] * len(writes)
