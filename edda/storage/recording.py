"""What a run and an accepted event record, each in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from sqlalchemy import Connection

from edda.storage import history, inbox, instances, leases, waits
from edda.storage.dialects.base import Attempt, ContentionError, Dialect
from edda.storage.leases import LeaseState
from edda.storage.records import HistoryRecord, Lease
from edda.storage.writes import (
    AlreadyRecorded,
    EventsAccepted,
    NewInstance,
    StepRecorded,
    Verdict,
    WaitsEnded,
    WaitsRegistered,
)

StepAnswer = Verdict | AlreadyRecorded


def record_steps(
    connection: Connection, dialect: Dialect, writes: Sequence[StepRecorded], attempt: Attempt
) -> list[StepAnswer]:
    """Record steps under their leases, and end the waits that they end."""
    rows = [history.row_of(step.lease, step.activity_id, step.event_type, step.event_data) for step in writes]
    answers: list[StepAnswer]
    if history.insert(connection, dialect, rows) == len(rows):
        answers = [Verdict.ACCEPTED] * len(rows)
        ended = [step for step in writes if step.ends_wait]
    else:
        held = leases.states(connection, dialect, (step.lease.instance_id for step in writes))
        answers = _explain(connection, dialect, writes, held, attempt)
        ended = [step for step in writes if step.ends_wait and _is_held(held, step.lease)]
    if ended:
        waits.end(connection, dialect, [(step.lease.instance_id, step.activity_id) for step in ended])
    return answers


def _explain(
    connection: Connection,
    dialect: Dialect,
    writes: Sequence[StepRecorded],
    held: dict[str, LeaseState],
    attempt: Attempt,
) -> list[StepAnswer]:
    recorded = history.find(
        connection, dialect, ((step.lease.instance_id, step.activity_id) for step in writes)
    )
    return [
        _answer(
            step,
            record=recorded.get((step.lease.instance_id, step.activity_id)),
            is_held=_is_held(held, step.lease),
            attempt=attempt,
        )
        for step in writes
    ]


def _answer(
    step: StepRecorded, *, record: HistoryRecord | None, is_held: bool, attempt: Attempt
) -> StepAnswer:
    # After a commit that went unanswered the very same row is this write itself. In a transaction
    # of the user it is not: what came with it is there already, and must not be there twice.
    same = record is not None and (record.event_type, record.event_data) == (step.event_type, step.event_data)
    if same and attempt is not Attempt.SEPARATE:
        return Verdict.ACCEPTED
    return AlreadyRecorded(record) if is_held and record is not None else Verdict.LEASE_LOST


def _is_held(held: dict[str, LeaseState], lease: Lease) -> bool:
    state = held.get(lease.instance_id)
    return state is not None and state.held_as(lease)


def register_waits(
    connection: Connection, dialect: Dialect, writes: Sequence[WaitsRegistered], attempt: Attempt
) -> list[Verdict]:
    """Register waits of runs that go on meanwhile."""
    if waits.register(connection, dialect, [(write.lease, wait) for write in writes for wait in write.waits]):
        return [Verdict.ACCEPTED] * len(writes)
    held = leases.states(connection, dialect, (write.lease.instance_id for write in writes))
    return [Verdict.ACCEPTED if _is_held(held, write.lease) else Verdict.LEASE_LOST for write in writes]


def end_waits(
    connection: Connection, dialect: Dialect, writes: Sequence[WaitsEnded], attempt: Attempt
) -> list[Verdict]:
    """Remove waits that runs have given up."""
    held = leases.states(connection, dialect, (write.lease.instance_id for write in writes))
    good = [write for write in writes if _is_held(held, write.lease)]
    steps = [(write.lease.instance_id, step) for write in good for step in write.activity_ids]
    if steps:
        waits.end(connection, dialect, steps)
    return [Verdict.ACCEPTED if _is_held(held, write.lease) else Verdict.LEASE_LOST for write in writes]


def accept_events(
    connection: Connection, dialect: Dialect, writes: Sequence[EventsAccepted], attempt: Attempt
) -> list[frozenset[str]]:
    """Store events and make the instances they start; an event that comes again makes none."""
    keys = [event.event_key for write in writes for event in write.events]
    seen: set[str] = set()
    if attempt is not Attempt.FIRST or len(set(keys)) != len(keys):
        seen = inbox.find(connection, dialect, keys)
    fresh = {
        event.event_key: event for write in writes for event in write.events if event.event_key not in seen
    }
    if fresh and inbox.insert(connection, dialect, fresh.values()) != len(fresh):
        raise ContentionError
    return _make_instances(connection, dialect, writes, seen, attempt)


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
