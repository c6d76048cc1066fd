"""Publishing: messages get their places under the locks of their channels, and wake who waits."""

from __future__ import annotations

from collections.abc import Sequence

from edda.storage import inbox, messages, waiters
from edda.storage.dialects.base import Attempt, ContentionError, Row
from edda.storage.exchange import Exchange
from edda.storage.message_writes import MessagePublished, Published
from edda.storage.messages import EVERYBODY
from edda.storage.writes import InboxEvent


def publish(exchange: Exchange, writes: Sequence[MessagePublished]) -> list[Published]:
    """Store the messages that are not stored yet, in the order given."""
    fresh = _remember(exchange, writes)
    if fresh:
        messages.insert(exchange.connection, exchange.dialect, [_row(exchange, write) for write in fresh])
    waiting = _find_waiting(exchange, writes)
    return [Published(_queue(write) in waiting) for write in writes]


def _remember(exchange: Exchange, writes: Sequence[MessagePublished]) -> Sequence[MessagePublished]:
    """Note the keys of messages that have one; returns the messages that nobody has published."""
    keyed = [write.key for write in writes if write.key is not None]
    if not keyed:
        return writes
    known: set[str] = set()
    if exchange.attempt is not Attempt.FIRST or len(set(keyed)) != len(keyed):
        known = set(inbox.find(exchange.connection, exchange.dialect, keyed))
    fresh: list[MessagePublished] = []
    notes: list[InboxEvent] = []
    for write in writes:
        if write.key is not None:
            if write.key in known:
                continue
            known.add(write.key)
            notes.append(InboxEvent(write.key, "", "", write.message_id, write.channel))
        fresh.append(write)
    if notes and inbox.insert(exchange.connection, exchange.dialect, notes) != len(notes):
        raise ContentionError
    return fresh


def _row(exchange: Exchange, write: MessagePublished) -> Row:
    channel = exchange.change(write.channel)
    position, channel.next_position = channel.next_position, channel.next_position + 1
    return (*_queue(write), position, write.message_id, write.data, write.types, write.metadata)


def _queue(write: MessagePublished) -> messages.Queue:
    return write.channel, EVERYBODY if write.target is None else write.target


def _find_waiting(exchange: Exchange, writes: Sequence[MessagePublished]) -> set[messages.Queue]:
    """Note whom the messages wake; returns the queues whose target waits for a message."""
    queues = {_queue(write) for write in writes}
    public = {channel for channel, target in queues if target == EVERYBODY}
    exchange.shared |= public
    heard = {name: waiters.EVERYONE for name in public if not exchange.is_competing(name)}
    everyone = waiters.of_channels(exchange.connection, exchange.dialect, heard)
    exchange.woken |= {instance_id for ids in everyone.values() for instance_id in ids}
    targets = waiters.of_targets(
        exchange.connection, exchange.dialect, {queue for queue in queues if queue[1] != EVERYBODY}
    )
    exchange.woken |= {instance_id for instance_id in targets.values() if instance_id is not None}
    return set(targets)
