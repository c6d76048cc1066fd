"""Beginning and ending subscriptions, under the locks of their channels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from edda.storage import history, subscriptions
from edda.storage.dialects.base import Attempt, ContentionError, Row
from edda.storage.exchange import Exchange
from edda.storage.message_writes import ModeConflict, Subscribed, Unsubscribed
from edda.storage.records import HistoryRecord
from edda.storage.subscriptions import Subscribing
from edda.storage.writes import AlreadyRecorded, Verdict
from edda.types import ChannelMode, EventType

Wish = tuple[str, str, ChannelMode]
"""An instance, a channel, and how it is to be heard."""
Answer = Verdict | AlreadyRecorded | ModeConflict
W = TypeVar("W", Subscribed, Unsubscribed)


def subscribe(exchange: Exchange, writes: Sequence[Subscribed]) -> list[Answer]:
    """Begin subscriptions; a channel has one mode, that of whoever came first."""
    known, fresh = _judge(exchange, writes, EventType.CHANNEL_SUBSCRIBED)
    answers: dict[int, Answer] = {**known}
    wishes = [(write.lease.instance_id, write.channel, write.mode) for _, write in fresh]
    begun = list(zip(fresh, begin(exchange, wishes), strict=True))
    for (place, _), conflict in begun:
        answers[place] = conflict or Verdict.ACCEPTED
    accepted = [write for (_, write), conflict in begun if conflict is None]
    _record(exchange, accepted, EventType.CHANNEL_SUBSCRIBED)
    return [answers[place] for place in range(len(writes))]


def begin(exchange: Exchange, wishes: Sequence[Wish]) -> list[ModeConflict | None]:
    """Subscribe instances whose leases are held to locked channels, each unless another mode is in use.

    A subscription that is there stays as it is, with its position.
    """
    used = _modes_in_use(exchange, wishes)
    new: dict[tuple[str, str], Subscribing] = {}
    answers: list[ModeConflict | None] = []
    for instance_id, name, mode in wishes:
        channel = exchange.channels[name]
        if channel.mode is not mode:
            if channel.mode is not None and name in used:
                answers.append(ModeConflict(channel.mode))
                continue
            exchange.change(name).mode = mode
        used.add(name)
        answers.append(None)
        subscriber = exchange.subscribers[instance_id]
        if name not in subscriber.channels:
            held = subscriber.channels[name] = Subscribing(mode, channel.next_position - 1)
            new[subscriber.subscriber_id, name] = held
    subscriptions.insert(exchange.connection, exchange.dialect, new)
    return answers


def _modes_in_use(exchange: Exchange, wishes: Iterable[Wish]) -> set[str]:
    """Of the channels with another mode than is wanted: those that have subscribers."""
    contested = {
        (name, present)
        for _, name, mode in wishes
        if (present := exchange.channels[name].mode) is not None and present is not mode
    }
    return subscriptions.in_use(exchange.connection, exchange.dialect, contested)


def unsubscribe(exchange: Exchange, writes: Sequence[Unsubscribed]) -> list[Verdict | AlreadyRecorded]:
    """End subscriptions, as far as there are any; what they leave is for others who compete."""
    answers, fresh = _judge(exchange, writes, EventType.CHANNEL_UNSUBSCRIBED)
    ended: list[tuple[str, str]] = []
    for place, write in fresh:
        answers[place] = Verdict.ACCEPTED
        subscriber = exchange.subscribers[write.lease.instance_id]
        if subscriber.channels.pop(write.channel, None) is not None:
            ended.append((subscriber.subscriber_id, write.channel))
    exchange.shared |= {channel for _, channel in ended}
    subscriptions.remove(exchange.connection, exchange.dialect, ended)
    _record(exchange, [write for _, write in fresh], EventType.CHANNEL_UNSUBSCRIBED)
    return [answers[place] for place in range(len(writes))]


def _judge(
    exchange: Exchange, writes: Sequence[W], event_type: EventType
) -> tuple[dict[int, Verdict | AlreadyRecorded], list[tuple[int, W]]]:
    """The answers of writes that do nothing any more, and the others with their places."""
    recorded = exchange.recorded(writes)
    answers: dict[int, Verdict | AlreadyRecorded] = {}
    fresh: list[tuple[int, W]] = []
    for place, write in enumerate(writes):
        record = recorded.get((write.lease.instance_id, write.activity_id or ""))
        if not exchange.is_held(write.lease):
            answers[place] = exchange.refusal(write.lease)
        elif record is None:
            fresh.append((place, write))
        else:
            answers[place] = _known(exchange, write, record, event_type)
    return answers, fresh


def _known(
    exchange: Exchange, write: Subscribed | Unsubscribed, record: HistoryRecord, event_type: EventType
) -> Verdict | AlreadyRecorded:
    # As for other steps: the very same row is this write itself, but not in a transaction of the user.
    same = (record.event_type, record.event_data) == (event_type, write.event_data)
    return Verdict.ACCEPTED if same and exchange.attempt is not Attempt.SEPARATE else AlreadyRecorded(record)


def _record(exchange: Exchange, writes: Sequence[Subscribed | Unsubscribed], event_type: EventType) -> None:
    rows: dict[history.Step, Row] = {}
    for write in writes:
        if write.activity_id is not None:
            row = history.row_of(write.lease, write.activity_id, event_type, write.event_data)
            rows.setdefault((write.lease.instance_id, write.activity_id), row)
    if rows and history.insert(exchange.connection, exchange.dialect, list(rows.values())) != len(rows):
        raise ContentionError
