"""Leases: who may write for an instance, for how long, and giving that back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Select, case, literal_column, null, select, update

from edda.storage import fence
from edda.storage.columns import Count, LongText, Seconds
from edda.storage.dialects.base import Attempt, Dialect, RowsStatement
from edda.storage.models import workflow_instances
from edda.storage.records import Lease
from edda.storage.writes import LeasesRenewed, RunReleased, Verdict
from edda.types import Status

_table = workflow_instances.c


@dataclass(frozen=True, slots=True)
class LeaseState:
    """Who may write for an instance now, and in how many seconds it is due."""

    status: Status
    owner: str | None
    token: int
    due_in: float | None

    def held_as(self, lease: Lease) -> bool:
        """Whether this lease is still the one."""
        return self.owner == lease.owner and self.token == lease.token

    def handed_back(self, lease: Lease) -> bool:
        """Whether this lease was given back and none was taken since."""
        return self.owner is None and self.token == lease.token


def states(connection: Connection, dialect: Dialect, instance_ids: Iterable[str]) -> dict[str, LeaseState]:
    """The leases of these instances, locked until the end of the transaction."""
    rows = connection.execute(_select_states(dialect), {"instance_ids": sorted(set(instance_ids))})
    return {
        row.instance_id: LeaseState(Status(row.status), row.lease_owner, row.lease_token, row.due_in)
        for row in rows
    }


@cache
def _select_states(dialect: Dialect) -> Select[Any]:
    due_in = dialect.until(_table.due_at).label("due_in")
    return (
        select(_table.instance_id, _table.status, _table.lease_owner, _table.lease_token, due_in)
        .where(dialect.member(_table.instance_id, "instance_ids"))
        .order_by(_table.instance_id)
        .with_for_update(key_share=True)
    )


def release(
    connection: Connection, dialect: Dialect, writes: Sequence[RunReleased], attempt: Attempt
) -> list[Verdict]:
    """Hand leases back unfinished."""
    rows = sorted(
        ((*fence.key_of(write.lease), write.delay, write.last_error) for write in writes), key=itemgetter(0)
    )
    if dialect.run(connection, _release(dialect), rows) == len(rows):
        return [Verdict.ACCEPTED] * len(writes)
    found = states(connection, dialect, (write.lease.instance_id for write in writes))
    return [
        Verdict.ACCEPTED
        if _is_released(found.get(write.lease.instance_id), write.lease)
        else Verdict.LEASE_LOST
        for write in writes
    ]


def _is_released(state: LeaseState | None, lease: Lease) -> bool:
    return state is not None and state.handed_back(lease) and not state.status.is_terminal


@cache
def _release(dialect: Dialect) -> RowsStatement:
    columns = {**fence.COLUMNS, "delay": Seconds, "last_error": LongText}
    incoming = dialect.incoming(**columns)
    died = incoming["last_error"].is_not(null())
    statement = (
        update(workflow_instances)
        .where(*fence.conditions(incoming))
        .values(
            lease_owner=null(),
            leased_at=null(),
            due_at=dialect.after(incoming["delay"]),
            attempts=case((died, _table.attempts + literal_column("1")), else_=literal_column("0")),
            last_error=incoming["last_error"],
            updated_at=dialect.now(),
        )
    )
    return RowsStatement(statement, incoming)


def renew(
    connection: Connection, dialect: Dialect, writes: Sequence[LeasesRenewed], attempt: Attempt
) -> list[frozenset[str]]:
    """Extend the leases that are still held; answer which are not."""
    rows = sorted({(*fence.key_of(lease), lease.seconds) for write in writes for lease in write.leases})
    if not rows or dialect.run(connection, _renew(dialect), rows) == len(rows):
        return [frozenset()] * len(writes)
    found = states(connection, dialect, (row[0] for row in rows))
    return [
        frozenset(
            lease.instance_id for lease in write.leases if not _is_held(found.get(lease.instance_id), lease)
        )
        for write in writes
    ]


def _is_held(state: LeaseState | None, lease: Lease) -> bool:
    return state is not None and state.held_as(lease)


@cache
def _renew(dialect: Dialect) -> RowsStatement:
    columns = {**fence.COLUMNS, "seconds": Seconds}
    incoming = dialect.incoming(**columns)
    statement = (
        update(workflow_instances)
        .where(*fence.conditions(incoming))
        .values(due_at=dialect.after(incoming["seconds"]))
    )
    return RowsStatement(statement, incoming)


def grant(connection: Connection, dialect: Dialect, leases: Sequence[tuple[Lease, int]]) -> None:
    """Give these leases, each with the new count of attempts; the caller has locked the rows."""
    rows = sorted((*fence.key_of(lease), lease.seconds, attempts) for lease, attempts in leases)
    dialect.run(connection, _grant(dialect), rows)


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
