"""Taking messages: what a subscriber takes becomes the outcome of its step in the same transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from pydantic_core import to_json

from edda.storage import history, leases, messages, subscribing, subscriptions, waits
from edda.storage.dialects.base import Attempt, ContentionError, Row
from edda.storage.exchange import Exchange, readings
from edda.storage.history import Step
from edda.storage.leases import LeaseState
from edda.storage.message_writes import MessageTaken, NoMessage, RunResumed, TakeAnswer, Taken
from edda.storage.messages import EVERYBODY, Queue, Reading
from edda.storage.subscriptions import Subscriber
from edda.storage.writes import AlreadyRecorded, Verdict
from edda.types import ChannelMode, EventType, Status


def take(exchange: Exchange, writes: Sequence[MessageTaken]) -> list[TakeAnswer]:
    """Hand out the oldest messages in the order of the writes.

    At the first attempt the leases are taken to be good and the steps to be new. If that
    is not so, the batch is made again and looks first.
    """
    answers = {} if exchange.attempt is Attempt.FIRST else _refusals(exchange, writes)
    going: dict[Step, MessageTaken] = {}
    for write in writes:
        if _step(write) not in answers:
            going.setdefault(_step(write), write)
    answers |= _subscribe(exchange, list(going.values()))
    counter = _Counter(exchange, [write for step, write in going.items() if step not in answers])
    answers |= counter.serve()
    return [answers[_step(write)] for write in writes]


def resume(exchange: Exchange, writes: Sequence[RunResumed]) -> list[TakeAnswer]:
    """Lease parked runs for which there is a message, and hand it out under that lease.

    They are parked instances of somebody else until then, so they are locked after the channels, as
    those that are made due. At the first attempt they are taken to be as they were when they parked.
    """
    answers: dict[int, TakeAnswer] = (
        {} if exchange.attempt is Attempt.FIRST else _not_resumable(exchange, writes)
    )
    going: dict[str, RunResumed] = {}
    for place, write in enumerate(writes):
        if place not in answers and going.setdefault(write.lease.instance_id, write) is not write:
            answers[place] = Verdict.LEASE_LOST  # of two in one batch the first counts
    counter = _Counter(exchange, [write.message for write in going.values()])
    found = counter.decide()
    taken = [write.lease for write in going.values() if isinstance(found[_step(write.message)], Taken)]
    if taken and not leases.resume(exchange.connection, exchange.dialect, taken):
        raise ContentionError
    counter.store()
    exchange.woken -= {lease.instance_id for lease in taken}
    return [answers.get(place) or found[_step(write.message)] for place, write in enumerate(writes)]


def _not_resumable(exchange: Exchange, writes: Sequence[RunResumed]) -> dict[int, TakeAnswer]:
    """The answers of those that have gone on already, in a commit that went unanswered, or elsewhere."""
    found = leases.states(
        exchange.connection, exchange.dialect, (write.lease.instance_id for write in writes)
    )
    recorded = exchange.recorded([write.message for write in writes])
    answers: dict[int, TakeAnswer] = {}
    for place, write in enumerate(writes):
        state = found.get(write.lease.instance_id)
        if write.granted is not None and leases.is_held(found, write.lease):
            answers[place] = write.granted
        elif not _is_parked(state, write) or _step(write.message) in recorded:
            answers[place] = Verdict.LEASE_LOST
    return answers


def _is_parked(state: LeaseState | None, write: RunResumed) -> bool:
    """Whether the instance is as it was when the run parked that is to go on."""
    if state is None or state.status is not Status.WAITING_FOR_MESSAGE or state.cancel_token is not None:
        return False
    return state.owner is None and state.token + 1 == write.lease.token


def _step(write: MessageTaken) -> Step:
    return write.lease.instance_id, write.activity_id


def _subscriber(exchange: Exchange, write: MessageTaken) -> Subscriber | None:
    return exchange.subscribers.get(write.lease.instance_id)


def needs_subscription(subscriber: Subscriber | None, write: MessageTaken) -> bool:
    """Whether the write begins with subscribing."""
    return write.subscribe and subscriber is not None and write.channel not in subscriber.channels


def _refusals(exchange: Exchange, writes: Sequence[MessageTaken]) -> dict[Step, TakeAnswer]:
    recorded = exchange.recorded(writes)
    refusals: dict[Step, TakeAnswer] = {}
    for write in writes:
        if not exchange.is_held(write.lease):
            refusals[_step(write)] = exchange.refusal(write.lease)
        elif _step(write) in recorded:
            refusals[_step(write)] = AlreadyRecorded(recorded[_step(write)])
    return refusals


def _subscribe(exchange: Exchange, writes: Sequence[MessageTaken]) -> dict[Step, TakeAnswer]:
    """Subscribe where that is to be done first; returns the answers of those that cannot be."""
    new = [write for write in writes if needs_subscription(_subscriber(exchange, write), write)]
    lost = [write for write in new if not exchange.is_held(write.lease)]
    good = [write for write in new if exchange.is_held(write.lease)]
    wishes = [(write.lease.instance_id, write.channel, ChannelMode.BROADCAST) for write in good]
    conflicts = zip(good, subscribing.begin(exchange, wishes), strict=True)
    refusals: dict[Step, TakeAnswer] = {_step(write): exchange.refusal(write.lease) for write in lost}
    return refusals | {_step(write): conflict for write, conflict in conflicts if conflict is not None}


class _Counter:
    """Where the takers of a batch are served, one after the other."""

    def __init__(self, exchange: Exchange, writes: Sequence[MessageTaken]) -> None:
        self._exchange = exchange
        self._writes = writes
        self._there: dict[Queue, list[Any]] = {}
        self._rows: list[Row] = []
        self._ended: list[Step] = []
        self._deleted: list[Row] = []
        self._moves: dict[tuple[str, str], tuple[int, int]] = {}

    def serve(self) -> dict[Step, TakeAnswer]:
        answers = self.decide()
        self.store()
        return answers

    def decide(self) -> dict[Step, TakeAnswer]:
        """Who gets what; nothing is written yet."""
        self._there = messages.next_of(self._exchange.connection, self._exchange.dialect, self._wanted())
        return {_step(write): self._answer(write) for write in self._writes}

    def _wanted(self) -> dict[Reading, int]:
        """How many messages are to be read: of a broadcast all who are at one place take the same."""
        takers = Counter(
            (subscriber.subscriber_id, write.channel in subscriber.competing(), reading)
            for write in self._writes
            if (subscriber := _subscriber(self._exchange, write)) is not None
            for reading in readings(subscriber, write.channel)
        )
        wanted: dict[Reading, int] = {}
        for (_, is_competing, reading), count in takers.items():
            before = wanted.get(reading, 0)
            wanted[reading] = before + count if is_competing else max(before, count)
        return wanted

    def _answer(self, write: MessageTaken) -> TakeAnswer:
        subscriber = _subscriber(self._exchange, write)
        if subscriber is None:
            return Verdict.LEASE_LOST
        message = self._take(subscriber, write.channel)
        if message is not None:
            event_data = _event_data(message, write.shown_channel)
            self._record(write, EventType.CHANNEL_MESSAGE_RECEIVED, event_data)
            return Taken(event_data)
        if write.channel not in subscriber.channels:
            return NoMessage.NOT_SUBSCRIBED
        if write.timeout_data is None:
            return NoMessage.NOTHING_THERE
        self._record(write, EventType.MESSAGE_TIMEOUT, write.timeout_data)
        return NoMessage.TIMED_OUT

    def _take(self, subscriber: Subscriber, channel: str) -> Any:
        """The oldest message left for this subscriber; nobody else gets it unless it is for all."""
        held = subscriber.channels.get(channel)
        own = self._there.get((channel, subscriber.subscriber_id), [])
        public = [] if held is None else self._there.get((channel, EVERYBODY), [])
        is_broadcast = held is not None and held.mode is ChannelMode.BROADCAST
        after = held.position if held is not None and is_broadcast else messages.BEGINNING
        shared = next((message for message in public if message.position > after), None)
        if shared is None or (own and own[0].position < shared.position):
            return self._delete(own) if own else None
        if held is None or not is_broadcast:
            return self._delete(public)
        key = (subscriber.subscriber_id, channel)
        passed, _ = self._moves.get(key, (held.position, 0))
        self._moves[key] = (passed, shared.position)
        held.position = shared.position
        return shared

    def _delete(self, queue: list[Any]) -> Any:
        message = queue.pop(0)
        self._deleted.append((message.channel, message.target, message.position))
        return message

    def _record(self, write: MessageTaken, event_type: EventType, event_data: str) -> None:
        self._rows.append(history.row_of(write.lease, write.activity_id, event_type, event_data))
        self._ended.append(_step(write))

    def store(self) -> None:
        """Write down what was decided."""
        connection, dialect = self._exchange.connection, self._exchange.dialect
        if not self._rows:
            return
        if history.insert(connection, dialect, self._rows) != len(self._rows):
            raise ContentionError
        messages.delete_taken(connection, dialect, self._deleted)
        if not subscriptions.advance(connection, dialect, self._moves):
            raise ContentionError
        waits.end(connection, dialect, self._ended)


def _event_data(message: Any, shown_channel: str) -> str:
    parts = {
        "id": to_json(message.message_id).decode(),
        "channel": to_json(shown_channel).decode(),
        "data": message.data,
        "types": message.types,
        "metadata": message.metadata,
        "published_at": to_json(message.published_at.isoformat()).decode(),
    }
    # The payload is JSON text already, and may be large.
    return "{" + ",".join(f'"{name}":{text}' for name, text in parts.items() if text is not None) + "}"
