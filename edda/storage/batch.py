"""One transaction: the writes of many callers, grouped by kind, and an answer for each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from edda.storage import (
    addressing,
    announcements,
    appending,
    cancellation,
    channel_retention,
    claims,
    dead_letters,
    definitions,
    delivery,
    inbox,
    instance_retention,
    instances,
    leadership,
    leases,
    message_retention,
    outbox,
    recording,
    relaying,
    rollback,
    settlement,
)
from edda.storage.dialects.base import Attempt, Dialect
from edda.storage.exchange import Exchange
from edda.storage.message_writes import ChannelsPurged, MessagesPurged
from edda.storage.news import News
from edda.storage.upkeep_writes import (
    DeadLetterRequeued,
    InstancesPurged,
    LeadershipClaimed,
    LeadershipResigned,
)
from edda.storage.writes import (
    Announced,
    CancelRequested,
    DefinitionRegistered,
    EventsAccepted,
    InboxPurged,
    InstanceClaimed,
    InstancesClaimed,
    LeasesRenewed,
    NewInstance,
    RollbackBegun,
    RollbackReopened,
    RunFinished,
    RunParked,
    RunRecurred,
    RunReleased,
    StepRecorded,
    WaitsEnded,
    WaitsRegistered,
    Write,
)
from edda.storage.writes_outbox import (
    BrokerReturned,
    OutboxEventAdded,
    OutboxLeased,
    OutboxMarked,
    OutboxPurged,
    OutboxRequeued,
)

Handler = Callable[[Connection, Dialect, Any, Attempt], Sequence[Any]]
Kind = type[Write[Any]]

# Whoever locks rows of several kinds locks them in the order of this file: rows of own
# instances through the fences of steps, then channels by name, all in one statement, then
# parked instances which messages make due, then whatever claims find.

# What makes rows comes before what looks for them.
_BEFORE_STEPS: dict[Kind, Handler] = {
    Announced: announcements.announce,
    DefinitionRegistered: definitions.register,
    NewInstance: instances.create,
    WaitsRegistered: recording.register_waits,
}
_AFTER_STEPS: dict[Kind, Handler] = {
    OutboxEventAdded: outbox.add,
    OutboxRequeued: outbox.requeue,
    WaitsEnded: recording.end_waits,
    appending.RowAppended: appending.append,
    RollbackBegun: rollback.begin,
}
# Under the locks of the channels they concern, so that whoever parks on a channel either
# finds a message or is found by its publisher.
_ENDS: dict[Kind, Handler] = {
    RunParked: settlement.park,
    RunFinished: settlement.finish,
    RunRecurred: settlement.recur,
    RunReleased: leases.release,
}
# Claims are last, so that they can take what the same batch hands back; those that may wait
# for another worker's row are before the one that never waits. Who asks to cancel comes after
# what ends, since what ended first has ended.
_LAST: dict[Kind, Handler] = {
    LeasesRenewed: leases.renew,
    CancelRequested: cancellation.request,
    DeadLetterRequeued: dead_letters.requeue,
    RollbackReopened: rollback.reopen,
    InstanceClaimed: claims.claim_particular,
    InstancesClaimed: claims.claim_due,
    # No row of an instance is waited for while keys of the outbox are locked.
    OutboxPurged: outbox.purge,
    OutboxMarked: relaying.mark,
    BrokerReturned: relaying.note_broker_returned,
    OutboxLeased: relaying.lease,
    LeadershipClaimed: leadership.claim,
    LeadershipResigned: leadership.resign,
    # After everything that waits for a lock: what it locks nobody else has to wait for.
    InboxPurged: inbox.purge,
    InstancesPurged: instance_retention.purge,
    MessagesPurged: message_retention.purge,
    ChannelsPurged: channel_retention.purge,
}
_LEAVING = (WaitsEnded, RollbackBegun, RunParked, RunFinished, RunReleased)
_KNOWN = (
    {EventsAccepted, StepRecorded}
    | _BEFORE_STEPS.keys()
    | _AFTER_STEPS.keys()
    | delivery.HANDLERS.keys()
    | _ENDS.keys()
    | _LAST.keys()
)
# The rows of a run that these make are in the history behind the steps of the same batch.
_TURNS: dict[Kind, int] = {kind: turn for turn, kind in enumerate(delivery.HANDLERS, start=1)}


@dataclass(slots=True)
class _Entry:
    write: Write[Any]
    answer: Any = None


@dataclass(frozen=True, slots=True)
class Applied:
    """The answers in the order of the writes, and what the commit is going to make known."""

    answers: list[Any]
    news: News = field(default_factory=News)
    order: Sequence[int] | None = None
    """The places of the writes in the order of their rows in the history, if that is another one."""


def apply(
    connection: Connection, dialect: Dialect, writes: Sequence[Write[Any]], attempt: Attempt
) -> Applied:
    """Execute all writes; the caller commits.

    Each kind costs a handful of statements, however many writes of it there are. The
    effects of steps share them: they join the kinds that come after the steps.
    """
    entries = [_Entry(write) for write in writes]
    groups = _grouped(entries)
    effects = _accept_events(groups, connection, dialect, attempt)
    _run(_BEFORE_STEPS, groups, connection, dialect, attempt)
    effects += _record_steps(groups, connection, dialect, attempt)
    if effects:
        added = _grouped(effects)
        # They depend on a step that was not there before, so neither were they.
        _run(_BEFORE_STEPS, added, connection, dialect, _attempt_of_effects(attempt))
        for kind in added.keys() - _BEFORE_STEPS.keys():
            groups[kind] += added[kind]
    _run(_AFTER_STEPS, groups, connection, dialect, attempt)
    exchange = _exchange(groups, connection, dialect, attempt)
    _run(_ENDS, groups, connection, dialect, attempt)
    woken = set() if exchange is None else _settle(groups, exchange)
    _run(_LAST, groups, connection, dialect, attempt)
    return _applied(entries, effects, woken)


def _applied(entries: Sequence[_Entry], effects: Sequence[_Entry], woken: Collection[str]) -> Applied:
    turns = [_TURNS.get(type(entry.write), 0) for entry in entries]
    order = sorted(range(len(turns)), key=turns.__getitem__) if any(turns) else None
    applied = Applied([entry.answer for entry in entries], News(), order)
    applied.news.note_woken(woken)
    everything = [*entries, *effects]
    applied.news.note((entry.write for entry in everything), (entry.answer for entry in everything))
    return applied


def _grouped(entries: Iterable[_Entry]) -> dict[Kind, list[_Entry]]:
    groups: dict[Kind, list[_Entry]] = defaultdict(list)
    for entry in entries:
        groups[type(entry.write)].append(entry)
    if unknown := groups.keys() - _KNOWN:
        raise TypeError(f"not a write: {', '.join(sorted(kind.__name__ for kind in unknown))}")
    return groups


def _run(
    handlers: dict[Kind, Handler],
    groups: dict[Kind, list[_Entry]],
    connection: Connection,
    dialect: Dialect,
    attempt: Attempt,
) -> None:
    if handlers is _BEFORE_STEPS:
        _resolve(groups.get(WaitsRegistered, ()), connection, dialect)
    for kind, handler in handlers.items():
        if entries := groups.get(kind):
            _answer(entries, handler(connection, dialect, [entry.write for entry in entries], attempt))


def _answer(entries: Sequence[_Entry], answers: Sequence[Any]) -> None:
    for entry, answer in zip(entries, answers, strict=True):
        entry.answer = answer


def _resolve(entries: Sequence[_Entry], connection: Connection, dialect: Dialect) -> None:
    """Give channels and targets the names under which they are stored."""
    writes = addressing.resolved(connection, dialect, [entry.write for entry in entries])
    for entry, write in zip(entries, writes, strict=True):
        entry.write = write


def _exchange(
    groups: dict[Kind, list[_Entry]], connection: Connection, dialect: Dialect, attempt: Attempt
) -> Exchange | None:
    """Do what the batch does on channels, and keep them locked; None if it has nothing to do with any."""
    entries = [
        entry
        for kind in (*delivery.HANDLERS, *_LEAVING)
        for entry in groups.get(kind, ())
        if delivery.concerns_channels(entry.write)
    ]
    if not entries:
        return None
    _resolve(entries, connection, dialect)
    exchange = delivery.open_exchange(connection, dialect, [entry.write for entry in entries], attempt)
    for kind, handler in delivery.HANDLERS.items():
        if ordered := groups.get(kind):
            _answer(ordered, handler(exchange, [entry.write for entry in ordered]))
    _take_instead_of_parking(groups, exchange)
    return exchange


def _take_instead_of_parking(groups: dict[Kind, list[_Entry]], exchange: Exchange) -> None:
    """Answer runs that find a message when they are about to park: only the others do."""
    parking = groups.get(RunParked, [])
    writes: list[Any] = [entry.write for entry in parking]
    if any(write.message is not None for write in writes):
        _answer(parking, delivery.take_instead(exchange, writes))
        groups[RunParked] = [entry for entry in parking if entry.answer is None]


def _settle(groups: dict[Kind, list[_Entry]], exchange: Exchange) -> set[str]:
    """See to the channels of runs that have parked or ended; returns the instances made due."""
    entries = [
        entry
        for kind in _LEAVING
        for entry in groups.get(kind, ())
        if delivery.concerns_channels(entry.write)
    ]
    writes, answers = [entry.write for entry in entries], [entry.answer for entry in entries]
    _answer(entries, delivery.settle(exchange, writes, answers))
    return exchange.close()


def _accept_events(
    groups: dict[Kind, list[_Entry]], connection: Connection, dialect: Dialect, attempt: Attempt
) -> list[_Entry]:
    """Accept the events of the batch; returns the messages that come with those that are new."""
    entries = groups.get(EventsAccepted)
    if not entries:
        return []
    writes: list[Any] = [entry.write for entry in entries]
    accepted = recording.accept_events(connection, dialect, writes, attempt)
    _answer(entries, accepted.answers)
    return [_Entry(message) for message in accepted.messages]


def _record_steps(
    groups: dict[Kind, list[_Entry]], connection: Connection, dialect: Dialect, attempt: Attempt
) -> list[_Entry]:
    """Record the steps of the batch; returns the effects of those that this transaction records."""
    entries = groups.get(StepRecorded)
    if not entries:
        return []
    steps: list[Any] = [entry.write for entry in entries]
    effects: list[Write[Any]] = []
    answers = recording.record_steps(connection, dialect, steps, attempt)
    _answer(entries, answers.answers)
    for step in answers.fresh:
        effects += [effect for effect in step.effects if not isinstance(effect, StepRecorded)]
    return [_Entry(effect) for effect in effects]


def _attempt_of_effects(attempt: Attempt) -> Attempt:
    return Attempt.FIRST if attempt is Attempt.FIRST else Attempt.REPEATED
