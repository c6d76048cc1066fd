"""From publisher to receiver: what the writes of one batch do on channels, in one order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from edda.storage import channels, leases, messages, subscriptions
from edda.storage.dialects.base import Attempt, Dialect
from edda.storage.exchange import Exchange, readings
from edda.storage.message_writes import (
    MessagePublished,
    MessageTaken,
    NoMessage,
    RunResumed,
    Subscribed,
    Taken,
    Unsubscribed,
)
from edda.storage.publishing import publish
from edda.storage.subscribing import subscribe, unsubscribe
from edda.storage.subscriptions import Subscriber
from edda.storage.taking import needs_subscription, resume, take
from edda.storage.writes import (
    AlreadyRecorded,
    Parked,
    RollbackBegun,
    RunFinished,
    RunParked,
    RunReleased,
    Verdict,
    WaitsEnded,
    Write,
)

ChannelHandler = Callable[[Exchange, Any], Sequence[Any]]

# A message is for those who subscribe in the same batch, and can be taken in it.
HANDLERS: dict[type[Write[Any]], ChannelHandler] = {
    Subscribed: subscribe,
    Unsubscribed: unsubscribe,
    MessagePublished: publish,
    MessageTaken: take,
    RunResumed: resume,
}


def concerns_channels(write: Write[Any]) -> bool:
    """Whether a channel is to be locked, or subscriptions are to be looked at, for this write."""
    match write:
        case RunParked(waits=waits):
            return any(wait.channel is not None for wait in waits)
        case RunFinished(subscriber=subscriber) | RollbackBegun(subscriber=subscriber):
            return subscriber is not None
        case RunReleased(subscriber=subscriber, last_error=last_error):
            return subscriber is not None and last_error is not None
        case WaitsEnded(channels=names):
            return bool(names)
    return type(write) in HANDLERS


def open_exchange(
    connection: Connection, dialect: Dialect, writes: Sequence[Write[Any]], attempt: Attempt
) -> Exchange:
    """Read what these writes need to know, and lock their channels in one statement.

    The rows of own instances that are looked at come first, as in the fences of steps;
    those of others, which messages wake, are locked after the channels.
    """
    runs = {_instance_of(write) for write in writes if not isinstance(write, MessagePublished | WaitsEnded)}
    subscribers = subscriptions.of_instances(connection, dialect, runs) if runs else {}
    fenced = {_instance_of(write) for write in writes if _is_fenced(write, subscribers, attempt)}
    held = leases.states(connection, dialect, fenced) if fenced else {}
    names = {name for write in writes for name in _channels_of(write, subscribers)}
    return Exchange(
        connection,
        dialect,
        attempt,
        channels=channels.lock(connection, dialect, names),
        subscribers=subscribers,
        leases=held,
    )


def _instance_of(write: Any) -> str:
    instance_id: str = write.lease.instance_id
    return instance_id


def _is_fenced(write: Write[Any], subscribers: Mapping[str, Subscriber], attempt: Attempt) -> bool:
    """Whether the lease has to be looked at: no row with a fence comes of the write for certain."""
    match write:
        case Subscribed() | Unsubscribed():
            return True
        case MessageTaken():
            subscriber = subscribers.get(write.lease.instance_id)
            return attempt is not Attempt.FIRST or needs_subscription(subscriber, write)
        case RunParked(message=message):
            return message is not None and attempt is not Attempt.FIRST
    return False


def _channels_of(write: Write[Any], subscribers: Mapping[str, Subscriber]) -> Iterable[str]:
    """The channels to lock: where messages come, waits are about to sleep, or takers compete."""
    if isinstance(write, RunResumed):
        write = write.message
    match write:
        case MessagePublished(channel=channel) | Subscribed(channel=channel) | Unsubscribed(channel=channel):
            return (channel,)
        case RunParked(waits=waits):
            return (wait.channel for wait in waits if wait.channel is not None)
        case WaitsEnded(channels=names):
            return names
        case MessageTaken(channel=channel):
            is_new = needs_subscription(subscribers.get(write.lease.instance_id), write)
            return {channel} if is_new else {channel} & _shared_by(write, subscribers)
        case RunFinished() | RunReleased() | RollbackBegun():
            return _shared_by(write, subscribers)
    return ()


def _shared_by(
    write: RunFinished | RunReleased | RollbackBegun | MessageTaken,
    subscribers: Mapping[str, Subscriber],
) -> set[str]:
    subscriber = subscribers.get(write.lease.instance_id)
    return set() if subscriber is None else subscriber.competing()


def take_instead(exchange: Exchange, writes: Sequence[RunParked]) -> list[Any]:
    """What runs that are about to park find, so that they go on with it; None for those that park.

    Their channels are locked: a message that is not there now comes after they have parked.
    """
    looking = [write for write in writes if write.message is not None]
    answers = dict(zip(map(_instance_of, looking), take(exchange, [w.message for w in looking]), strict=True))
    exchange.found_nothing |= {one for one, answer in answers.items() if isinstance(answer, NoMessage)}
    found = {one: answer for one, answer in answers.items() if isinstance(answer, Taken | AlreadyRecorded)}
    return [found.get(_instance_of(write)) if write.message is not None else None for write in writes]


def settle(exchange: Exchange, writes: Sequence[Write[Any]], answers: Sequence[Any]) -> list[Any]:
    """What follows for channels from runs that parked or ended; returns their answers."""
    _leave(
        exchange,
        [write for write, answer in zip(writes, answers, strict=True) if answer is Verdict.ACCEPTED],
    )
    asleep = [
        (write, exchange.subscribers[write.lease.instance_id])
        for write, answer in zip(writes, answers, strict=True)
        if isinstance(write, RunParked) and isinstance(answer, Parked)
    ]
    called = _called(exchange, asleep)
    exchange.woken |= called
    return [
        Parked(0.0) if isinstance(answer, Parked) and _instance_of(write) in called else answer
        for write, answer in zip(writes, answers, strict=True)
    ]


def _leave(exchange: Exchange, writes: Sequence[Write[Any]]) -> None:
    """Whoever goes may have been woken for a message that it leaves for others."""
    ended: list[tuple[str, str]] = []
    for write in writes:
        match write:
            case WaitsEnded(channels=names):
                exchange.shared |= set(names)
            case RunReleased() | RollbackBegun():
                exchange.shared |= _shared_by(write, exchange.subscribers)
            case RunFinished():
                exchange.shared |= _shared_by(write, exchange.subscribers)
                subscriber = exchange.subscribers.get(write.lease.instance_id)
                if subscriber is not None:
                    ended += [(subscriber.subscriber_id, name) for name in subscriber.channels]
    subscriptions.remove(exchange.connection, exchange.dialect, ended)


def _called(exchange: Exchange, asleep: Sequence[tuple[RunParked, Subscriber]]) -> set[str]:
    """Those that parked although a message is there which they may take."""
    wanted = [
        (write.lease.instance_id, reading)
        for write, subscriber in asleep
        if write.lease.instance_id not in exchange.found_nothing
        for wait in write.waits
        if wait.channel is not None
        for reading in readings(subscriber, wait.channel)
    ]
    last = messages.last_found(exchange.connection, exchange.dialect, {reading for _, reading in wanted})
    return {
        instance_id
        for instance_id, (channel, target, after) in wanted
        if last.get((channel, target), after) > after
    }
