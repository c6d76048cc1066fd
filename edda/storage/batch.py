"""One transaction: the writes of many callers, grouped by kind, and an answer for each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection

from edda.storage import appending, claims, definitions, instances, leases, recording, settlement
from edda.storage.dialects.base import Attempt, Dialect
from edda.storage.writes import (
    DefinitionRegistered,
    EventsAccepted,
    InstanceClaimed,
    InstancesClaimed,
    LeasesRenewed,
    NewInstance,
    RunFinished,
    RunParked,
    RunReleased,
    StepRecorded,
    WaitsEnded,
    WaitsRegistered,
    Write,
)

Handler = Callable[[Connection, Dialect, Any, Attempt], Sequence[Any]]

# What makes rows comes before what looks for them. Claims are last, so that they can
# take what the same batch hands back; the one that may wait for another worker's row
# is before the one that never waits.
_HANDLERS: dict[type[Write[Any]], Handler] = {
    DefinitionRegistered: definitions.register,
    EventsAccepted: recording.accept_events,
    NewInstance: instances.create,
    WaitsRegistered: recording.register_waits,
    StepRecorded: recording.record_steps,
    WaitsEnded: recording.end_waits,
    appending.RowAppended: appending.append,
    RunParked: settlement.park,
    RunFinished: settlement.finish,
    RunReleased: leases.release,
    LeasesRenewed: leases.renew,
    InstanceClaimed: claims.claim_particular,
    InstancesClaimed: claims.claim_due,
}


def apply(
    connection: Connection, dialect: Dialect, writes: Sequence[Write[Any]], attempt: Attempt
) -> list[Any]:
    """Execute all writes and return their answers in the same order; the caller commits.

    Each kind costs a handful of statements, however many writes of it there are.
    """
    positions: dict[type[Write[Any]], list[int]] = defaultdict(list)
    for position, write in enumerate(writes):
        positions[type(write)].append(position)
    if unknown := positions.keys() - _HANDLERS.keys():
        raise TypeError(f"not a write: {', '.join(sorted(kind.__name__ for kind in unknown))}")
    answers: list[Any] = [None] * len(writes)
    for kind, handler in _HANDLERS.items():
        if kind in positions:
            group = [writes[position] for position in positions[kind]]
            for position, answer in zip(
                positions[kind], handler(connection, dialect, group, attempt), strict=True
            ):
                answers[position] = answer
    return answers
