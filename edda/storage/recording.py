"""What a run and an accepted event record, each in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from sqlalchemy import Connection

from edda.storage import history, inbox, instances, leases, waits
from edda.storage.dialects.base import Attempt, ContentionError, Dialect
from edda.storage.leases import LeaseState
from edda.storage.records import HistoryRecord, under_next_token
from edda.storage.writes import (
    AlreadyRecorded,
    EventsAccepted,
    InboxEvent,
    NewInstance,
    StepRecorded,
    Verdict,
    WaitsEnded,
    WaitsRegistered,
    Write,
    under_lease,
)

StepAnswer = Verdict | AlreadyRecorded


@dataclass(frozen=True, slots=True)
class StepsRecorded:
    """An answer for each step, and those steps that this very transaction records."""

    answers: Sequence[StepAnswer]
    fresh: Sequence[StepRecorded]


def record_steps(
    connection: Connection, dialect: Dialect, writes: Sequence[StepRecorded], attempt: Attempt
) -> StepsRecorded:
    """Record steps under their leases, and end the waits that they end."""
    looks_first = attempt in (Attempt.REPEATED, Attempt.UNCERTAIN) and any(step.effects for step in writes)
    if not looks_first and _insert(connection, dialect, writes):
        _end_waits(connection, dialect, writes)
        return StepsRecorded([Verdict.ACCEPTED] * len(writes), writes)
    if attempt is Attempt.FIRST and any(step.effects for step in writes):
        raise ContentionError  # whose effects happen depends on which steps are new: look first
    held = leases.states(connection, dialect, (step.lease.instance_id for step in writes))
    good = [step for step in writes if leases.is_held(held, step.lease)]
    # Their effect has happened although their run is to end: recorded, it can be compensated.
    last = {
        id(step): _under_next_token(step)
        for step in writes
        if leases.refusal(held, step.lease) is Verdict.CANCEL_REQUESTED
    }
    fresh = _insert_new(connection, dialect, [*(good if looks_first else []), *last.values()])
    answers = _explain(connection, dialect, writes, held, attempt)
    _end_waits(connection, dialect, [*good, *last.values()])
    own = {id(step) for step in fresh}
    for position, step in enumerate(writes):
        if id(step) in own:
            answers[position] = Verdict.ACCEPTED
        elif id(last.get(id(step))) in own:
            answers[position] = Verdict.CANCEL_REQUESTED
    return StepsRecorded(answers, fresh)


def _under_next_token(step: StepRecorded) -> StepRecorded:
    lease = under_next_token(step.lease)
    effects = tuple(under_lease(effect, lease) for effect in step.effects)
    return replace(step, lease=lease, effects=effects)


def _insert(connection: Connection, dialect: Dialect, writes: Sequence[StepRecorded]) -> bool:
    """Insert the rows of these steps; say whether all of them were new and under a good lease."""
    rows = [
        history.row_of(row.lease, row.activity_id, row.event_type, row.event_data)
        for step in writes
        for row in (*(inner for inner in step.effects if isinstance(inner, StepRecorded)), step)
    ]
    return not rows or history.insert(connection, dialect, rows) == len(rows)


def _insert_new(
    connection: Connection, dialect: Dialect, good: Sequence[StepRecorded]
) -> Sequence[StepRecorded]:
    """Insert the steps that are not recorded; returns them. Their instances are locked."""
    recorded = history.find(connection, dialect, (_key(step) for step in good)) if good else {}
    new: dict[history.Step, StepRecorded] = {}
    for step in good:
        if _key(step) not in recorded:
            new.setdefault(_key(step), step)
    fresh = list(new.values())
    _insert(connection, dialect, fresh)
    return fresh


def _end_waits(connection: Connection, dialect: Dialect, writes: Sequence[StepRecorded]) -> None:
    if ended := [_key(step) for step in writes if step.ends_wait]:
        waits.end(connection, dialect, ended)


def _key(step: StepRecorded) -> history.Step:
    return step.lease.instance_id, step.activity_id


def _explain(
    connection: Connection,
    dialect: Dialect,
    writes: Sequence[StepRecorded],
    held: dict[str, LeaseState],
    attempt: Attempt,
) -> list[StepAnswer]:
    recorded = history.find(connection, dialect, (_key(step) for step in writes))
    return [
        _answer(
            step,
            record=recorded.get((step.lease.instance_id, step.activity_id)),
            is_held=leases.verdict(held, step.lease) is not Verdict.LEASE_LOST,
            attempt=attempt,
        )
        for step in writes
    ]


def _answer(
    step: StepRecorded, *, record: HistoryRecord | None, is_held: bool, attempt: Attempt
) -> StepAnswer:
    # After a commit that went unanswered the very same row is this write itself; otherwise it may be that
    # of the worker which took the instance over. In a transaction of the user it never is this write:
    # what came with it is there already, and must not be there twice.
    same = record is not None and (record.event_type, record.event_data) == (step.event_type, step.event_data)
    if same and (attempt is Attempt.UNCERTAIN or (is_held and attempt is not Attempt.SEPARATE)):
        return Verdict.ACCEPTED
    return AlreadyRecorded(record) if is_held and record is not None else Verdict.LEASE_LOST


def register_waits(
    connection: Connection, dialect: Dialect, writes: Sequence[WaitsRegistered], attempt: Attempt
) -> list[Verdict]:
    """Register waits of runs that go on meanwhile."""
    if waits.register(connection, dialect, [(write.lease, wait) for write in writes for wait in write.waits]):
        return [Verdict.ACCEPTED] * len(writes)
    held = leases.states(connection, dialect, (write.lease.instance_id for write in writes))
    return [leases.verdict(held, write.lease) for write in writes]


def end_waits(
    connection: Connection, dialect: Dialect, writes: Sequence[WaitsEnded], attempt: Attempt
) -> list[Verdict]:
    """Remove waits that runs have given up."""
    held = leases.states(connection, dialect, (write.lease.instance_id for write in writes))
    good = [write for write in writes if leases.is_held(held, write.lease)]
    steps = [(write.lease.instance_id, step) for write in good for step in write.activity_ids]
    if steps:
        waits.end(connection, dialect, steps)
    return [leases.verdict(held, write.lease) for write in writes]


@dataclass(frozen=True, slots=True)
class EventsStored:
    """An answer for each write, and the messages that come with events which nobody has published."""

    answers: Sequence[frozenset[str]]
    messages: Sequence[Write[Any]]


def accept_events(
    connection: Connection, dialect: Dialect, writes: Sequence[EventsAccepted], attempt: Attempt
) -> EventsStored:
    """Store events and make the instances they start; an event that comes again makes none."""
    events = [event for write in writes for event in write.events]
    keys = [_row_key(event) for event in events]
    found: dict[str, str] = {}
    if attempt is not Attempt.FIRST or len(set(keys)) != len(keys):
        found = inbox.find(connection, dialect, {*keys, *(event.event_key for event in events)})
    known, rows, messages = _sort_out(events, found)
    if rows and inbox.insert(connection, dialect, rows) != len(rows):
        raise ContentionError
    return EventsStored(_make_instances(connection, dialect, writes, known, attempt), messages)


def _row_key(event: InboxEvent) -> str:
    return event.event_key if event.publication_key is None else event.publication_key


def _sort_out(
    events: Sequence[InboxEvent], found: dict[str, str]
) -> tuple[set[str], list[InboxEvent], list[Write[Any]]]:
    """Events that their services know already, rows for the others, and messages that are new.

    One row stands for the publication and for the service that came first. Another service
    that accepts the same event adds one of its own.
    """
    services = dict(found)
    known: set[str] = set()
    rows: list[InboxEvent] = []
    messages: list[Write[Any]] = []
    # Of one event that comes twice in a batch the first counts, as it does for the instances.
    firsts: dict[str, InboxEvent] = {}
    for event in events:
        firsts.setdefault(event.event_key, event)
    for event in firsts.values():
        key = _row_key(event)
        if key not in services:
            services[key] = event.owner_service
            rows.append(replace(event, event_key=key))
            messages += [] if event.message is None else [event.message]
        elif event.event_key in found or services[key] == event.owner_service:
            known.add(event.event_key)
        else:
            rows.append(event)
    return known, rows, messages


def _make_instances(
    connection: Connection,
    dialect: Dialect,
    writes: Sequence[EventsAccepted],
    seen: set[str],
    attempt: Attempt,
) -> list[frozenset[str]]:
    starting: list[tuple[NewInstance, ...]] = []
    known: list[frozenset[str]] = []
    for write in writes:
        keys = {event.event_key for event in write.events}
        is_known = bool(keys) and keys <= seen
        starting.append(() if is_known else write.instances)
        known.append(frozenset(new.instance_id for new in write.instances) if is_known else frozenset())
        seen |= keys
    made = iter(instances.create(connection, dialect, list(chain(*starting)), attempt))
    answers = [frozenset([new.instance_id for new in group if next(made)]) for group in starting]
    if attempt is Attempt.UNCERTAIN:
        # The events may be known because this very write was committed, with its instances.
        found = instances.find(connection, dialect, list(chain(*known)))
        answers = [answer | (ids & found) for answer, ids in zip(answers, known, strict=True)]
    return answers
