"""Leases: who may write for an instance, for how long, and giving that back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Select, and_, case, literal_column, not_, null, select, update

from edda.ids import fraction
from edda.storage import fence
from edda.storage.columns import Count, LongText, Seconds
from edda.storage.dialects.base import Attempt, Dialect, RowsStatement
from edda.storage.models import workflow_instances
from edda.storage.records import Lease, under_next_token
from edda.storage.writes import LeasesRenewed, RunReleased, Verdict
from edda.types import Status

_LONGEST_EXTRA = 60.0
_MANY = 2
_APART = 0.5

_table = workflow_instances.c


@dataclass(frozen=True, slots=True)
class LeaseState:
    """Who may write for an instance now, and in how many seconds it is due."""

    status: Status
    owner: str | None
    token: int
    due_in: float | None
    cancel_token: int | None = None

    def held_as(self, lease: Lease) -> bool:
        """Whether this lease is still the one."""
        return self.owner == lease.owner and self.token == lease.token

    def asked_to_cancel(self, lease: Lease) -> bool:
        """Whether the run under this lease was asked to cancel, and its lease given the next token for it."""
        return self.cancel_token == lease.token and self.held_as(under_next_token(lease))

    def handed_back(self, lease: Lease) -> bool:
        """Whether this lease was given back and none was taken since."""
        return self.owner is None and self.token == lease.token


def states(connection: Connection, dialect: Dialect, instance_ids: Iterable[str]) -> dict[str, LeaseState]:
    """The leases of these instances, locked until the end of the transaction."""
    rows = connection.execute(_select_states(dialect), {"instance_ids": sorted(set(instance_ids))})
    return {
        row.instance_id: LeaseState(
            Status(row.status), row.lease_owner, row.lease_token, row.due_in, row.cancel_token
        )
        for row in rows
    }


@cache
def _select_states(dialect: Dialect) -> Select[Any]:
    due_in = dialect.until(_table.due_at).label("due_in")
    return (
        select(
            _table.instance_id,
            _table.status,
            _table.lease_owner,
            _table.lease_token,
            _table.cancel_token,
            due_in,
        )
        .where(dialect.member(_table.instance_id, "instance_ids"))
        .order_by(_table.instance_id)
        .with_for_update(key_share=True)
    )


def is_held(found: Mapping[str, LeaseState], lease: Lease) -> bool:
    """Whether this lease is, as :func:`states` has found it, still the one of its instance."""
    state = found.get(lease.instance_id)
    return state is not None and state.held_as(lease)


def verdict(found: Mapping[str, LeaseState], lease: Lease) -> Verdict:
    """What :func:`states` says to a run with this lease."""
    return Verdict.ACCEPTED if is_held(found, lease) else refusal(found, lease)


def refusal(found: Mapping[str, LeaseState], lease: Lease) -> Verdict:
    """Why a write under this lease took no effect."""
    state = found.get(lease.instance_id)
    asked = state is not None and state.asked_to_cancel(lease)
    return Verdict.CANCEL_REQUESTED if asked else Verdict.LEASE_LOST


def release(
    connection: Connection, dialect: Dialect, writes: Sequence[RunReleased], attempt: Attempt
) -> list[Verdict]:
    """Hand leases back unfinished."""
    rows = sorted(
        (
            (*fence.key_of(write.lease), write.delay, write.last_error, int(_is_counted(write)))
            for write in writes
        ),
        key=itemgetter(0),
    )
    if dialect.run(connection, _release(dialect), rows) == len(rows):
        return [Verdict.ACCEPTED] * len(writes)
    found = states(connection, dialect, (write.lease.instance_id for write in writes))
    return [
        Verdict.ACCEPTED
        if _is_released(found.get(write.lease.instance_id), write.lease)
        else refusal(found, write.lease)
        for write in writes
    ]


def _is_counted(write: RunReleased) -> bool:
    return write.last_error is not None and not write.blameless


def _is_released(state: LeaseState | None, lease: Lease) -> bool:
    return state is not None and state.handed_back(lease) and not state.status.is_terminal


@cache
def _release(dialect: Dialect) -> RowsStatement:
    columns = {**fence.COLUMNS, "delay": Seconds, "last_error": LongText, "counted": Count}
    incoming = dialect.incoming(**columns)
    counted = incoming["counted"] == literal_column("1")
    statement = (
        update(workflow_instances)
        .where(*fence.conditions(incoming))
        .values(
            lease_owner=null(),
            leased_at=null(),
            due_at=dialect.after(incoming["delay"]),
            attempts=case((counted, _table.attempts + literal_column("1")), else_=literal_column("0")),
            last_error=incoming["last_error"],
            updated_at=dialect.now(),
        )
    )
    return RowsStatement(statement, incoming)


def renew(
    connection: Connection, dialect: Dialect, writes: Sequence[LeasesRenewed], attempt: Attempt
) -> list[dict[str, Verdict]]:
    """Extend the leases that are still held; answer which are not, and why."""
    rows = sorted({(*fence.key_of(lease), lease.seconds) for write in writes for lease in write.leases})
    if not rows or dialect.run(connection, _renew(dialect), rows) == len(rows):
        return [{} for _ in writes]
    found = states(connection, dialect, (row[0] for row in rows))
    return [
        {lease.instance_id: refusal(found, lease) for lease in write.leases if not is_held(found, lease)}
        for write in writes
    ]


@cache
def _renew(dialect: Dialect) -> RowsStatement:
    columns = {**fence.COLUMNS, "seconds": Seconds}
    incoming = dialect.incoming(**columns)
    # Whoever has lasted for a whole lease does not die of the instance: that of the next dead
    # worker is taken over without a delay. Until then a lease that has grown stays as it is.
    lasts = _table.leased_at <= dialect.after(-incoming["seconds"])
    until = dialect.after(incoming["seconds"])
    statement = (
        update(workflow_instances)
        .where(*fence.conditions(incoming))
        .values(
            due_at=case((and_(not_(lasts), _table.due_at > until), _table.due_at), else_=until),
            attempts=case((lasts, literal_column("0")), else_=_table.attempts),
        )
    )
    return RowsStatement(statement, incoming)


def grant(connection: Connection, dialect: Dialect, leases: Sequence[tuple[Lease, int]]) -> None:
    """Give these leases, each with the new count of attempts; the caller has locked the rows."""
    # What is added the worker does not know of: it trusts and renews the lease as any other.
    # It differs, so that what died together with an instance which kills its worker is not
    # taken over together with it, time after time.
    rows = sorted(
        (
            *fence.key_of(lease),
            lease.seconds + takeover_delay(attempts) * (1 - fraction() * _APART),
            attempts,
        )
        for lease, attempts in leases
    )
    dialect.run(connection, _grant(dialect), rows)


def resume(connection: Connection, dialect: Dialect, leases: Sequence[Lease]) -> bool:
    """Give these leases to runs that parked under the token before; say if all were as they parked."""
    rows = sorted((*fence.key_of(lease), lease.seconds) for lease in leases)
    return dialect.run(connection, _resume(dialect), rows) == len(rows)


@cache
def _resume(dialect: Dialect) -> RowsStatement:
    incoming = dialect.incoming(**fence.COLUMNS, seconds=Seconds)
    statement = (
        update(workflow_instances)
        .where(
            _table.instance_id == incoming["instance_id"],
            _table.lease_token == incoming["token"] - literal_column("1"),
            _table.lease_owner.is_(null()),
            _table.cancel_token.is_(null()),
            _table.status == literal_column(f"'{Status.WAITING_FOR_MESSAGE}'"),
        )
        .values(
            status=literal_column(f"'{Status.RUNNING}'"),
            lease_owner=incoming["owner"],
            lease_token=incoming["token"],
            leased_at=dialect.now(),
            due_at=dialect.after(incoming["seconds"]),
            updated_at=dialect.now(),
        )
    )
    return RowsStatement(statement, incoming)


def takeover_delay(attempts: int) -> float:
    """Seconds by which a lease grows at most when the runs before it died, so many of them in a row.

    An instance that kills its worker each time then does so less and less often.
    """
    return 0.0 if attempts < _MANY else min(2.0 ** min(attempts - 1, 16), _LONGEST_EXTRA)


@cache
def _grant(dialect: Dialect) -> RowsStatement:
    columns = {**fence.COLUMNS, "seconds": Seconds, "attempts": Count}
    incoming = dialect.incoming(**columns)
    compensating = _table.status == literal_column("'compensating'")
    statement = (
        update(workflow_instances)
        .where(_table.instance_id == incoming["instance_id"])
        .values(
            status=case((compensating, _table.status), else_=literal_column("'running'")),
            lease_owner=incoming["owner"],
            lease_token=incoming["token"],
            leased_at=dialect.now(),
            due_at=dialect.after(incoming["seconds"]),
            attempts=incoming["attempts"],
            updated_at=dialect.now(),
        )
    )
    return RowsStatement(statement, incoming)
