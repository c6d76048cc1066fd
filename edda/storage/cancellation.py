"""Requests to cancel: durable, and noticed by the next write of the run at no cost before.

The request raises the token of the lease by one and leaves the lease with its owner. So
the next fenced statement of the run finds no match, and what explains that finds the
request: the run goes on under the next token, as a cancelled one. A run that completes at
the same moment has either done so before, or is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, update

from edda.codec.json import dumps, loads_object
from edda.storage import claims, due, history, leases
from edda.storage.columns import Count, LongText
from edda.storage.dialects.base import Attempt, Dialect, Row, RowsStatement
from edda.storage.models import workflow_instances
from edda.storage.records import ClaimedInstance, Lease
from edda.storage.writes import CancelRequested, CancelTold, NotCancellable
from edda.types import WITHDRAWN, EventType, Status

Answer = ClaimedInstance | CancelTold | NotCancellable

_NOBODY = 0
"""Stands for the lease of a request that found none: tokens begin with 1."""


@dataclass(slots=True)
class _Decided:
    """What a batch of requests is going to write, in memory."""

    answers: dict[str, Answer] = field(default_factory=dict)
    marks: list[Row] = field(default_factory=list)
    steps: list[Row] = field(default_factory=list)
    claimed: list[ClaimedInstance] = field(default_factory=list)
    past_pivot: set[str] = field(default_factory=set)


def request(
    connection: Connection, dialect: Dialect, writes: Sequence[CancelRequested], attempt: Attempt
) -> list[Answer]:
    """Record requests; an instance that nobody runs is leased to the one who asks.

    The rows stay locked from the look at them until the commit, as for any claim.
    """
    found = due.find(connection, dialect, [write.instance_id for write in writes])
    decided = _Decided(past_pivot=_past_pivot(connection, dialect, found))
    answers = [_decide(found.get(write.instance_id), write, decided) for write in writes]
    if decided.claimed:
        leases.grant(
            connection, dialect, [(instance.lease, instance.attempts) for instance in decided.claimed]
        )
    if decided.marks:
        dialect.run(connection, _mark(dialect), sorted(decided.marks, key=itemgetter(0)))
    if decided.steps:
        history.insert(connection, dialect, decided.steps)
    return answers


def _past_pivot(connection: Connection, dialect: Dialect, found: Mapping[str, Any]) -> set[str]:
    """The instances that go forward only. Their rows are locked: a pivot is here, or comes too late."""
    live = [instance_id for instance_id, row in found.items() if row.cancel_token is None]
    passed = history.find_kind(connection, dialect, live, EventType.PIVOT_PASSED) if live else []
    return {row.instance_id for row in passed if WITHDRAWN not in loads_object(row.event_data)}


def _decide(row: Any, write: CancelRequested, decided: _Decided) -> Answer:
    if (granted := claims.regranted(row, write.granted)) is not None:
        decided.claimed.append(granted)
        return granted
    if row is None or Status(row.status).is_terminal or Status(row.status) is Status.COMPENSATING:
        return NotCancellable.NOT_LIVE
    if row.instance_id in decided.past_pivot:
        return NotCancellable.PAST_PIVOT
    answer = decided.answers.get(row.instance_id)
    if answer is not None:  # of two requests in one batch the first one counts
        return answer if isinstance(answer, CancelTold) else CancelTold(write.owner, _NOBODY)
    if row.lease_owner is not None and row.due_in is not None and row.due_in > 0:
        answer = CancelTold(
            row.lease_owner, row.lease_token if row.cancel_token is None else row.cancel_token
        )
        lease = Lease(row.instance_id, row.lease_owner, row.lease_token + 1, 0.0)
        mark = row.lease_token
    else:
        answer = claims.claimed_from(row, write.owner, lease_seconds=write.lease_seconds, cancelled=True)
        decided.claimed.append(answer)
        lease, mark = answer.lease, _NOBODY
    decided.answers[row.instance_id] = answer
    if row.cancel_token is None:
        decided.marks.append((row.instance_id, lease.token, mark))
        decided.steps.append(_step(row, write, lease))
    return answer


def _step(row: Any, write: CancelRequested, lease: Lease) -> Row:
    data = {
        "cancelled_by": write.cancelled_by,
        "cancelled_at": write.cancelled_at.isoformat(),
        "previous_status": row.status,
    }
    return history.row_of(lease, "workflow_cancelled", EventType.WORKFLOW_CANCELLED, dumps(data))


@cache
def _mark(dialect: Dialect) -> RowsStatement:
    incoming = dialect.incoming(instance_id=LongText, token=Count, mark=Count)
    statement = (
        update(workflow_instances)
        .where(workflow_instances.c.instance_id == incoming["instance_id"])
        .values(lease_token=incoming["token"], cancel_token=incoming["mark"], updated_at=dialect.now())
    )
    return RowsStatement(statement, incoming)
