"""Who of all workers leads: one row with an expiry, by the clock of the database."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, literal_column, null, or_, select, update

from edda.storage.columns import LongText, Seconds
from edda.storage.dialects.base import Attempt, Dialect, RowsStatement
from edda.storage.models import workflow_leader
from edda.storage.upkeep_writes import LeadershipClaimed, LeadershipResigned, LeaderTerm

_table = workflow_leader.c
# There is one leader; the table could have others for other tasks.
_ROLE: ColumnElement[str] = literal_column("'leader'")


def claim(
    connection: Connection, dialect: Dialect, writes: Sequence[LeadershipClaimed], attempt: Attempt
) -> list[LeaderTerm]:
    """Make the asker the leader, or its term longer, unless another one leads."""
    return [_claim(connection, dialect, write) for write in writes]


def _claim(connection: Connection, dialect: Dialect, write: LeadershipClaimed) -> LeaderTerm:
    row = (write.owner, write.seconds)
    for statement in (_take(dialect), _insert(dialect)):
        # One conditional statement decides; whoever asks at the same time waits for its commit.
        if dialect.run(connection, statement, [row]):
            return LeaderTerm(granted=True, seconds=write.seconds)
        left = connection.scalar(_select_left(dialect))
        if left is not None:
            break
    return LeaderTerm(granted=False, seconds=max(0.0, float(left or 0.0)))


@cache
def _take(dialect: Dialect) -> RowsStatement:
    incoming = dialect.incoming(owner=LongText, seconds=Seconds)
    statement = (
        update(workflow_leader)
        .where(
            _table.role == _ROLE,
            or_(_table.owner == incoming["owner"], _table.expires_at <= dialect.now()),
        )
        .values(owner=incoming["owner"], expires_at=dialect.after(incoming["seconds"]))
    )
    return RowsStatement(statement, incoming)


@cache
def _insert(dialect: Dialect) -> RowsStatement:
    incoming = dialect.incoming(owner=LongText, seconds=Seconds)
    values = {
        "role": _ROLE,
        "owner": incoming["owner"],
        "expires_at": dialect.after(incoming["seconds"]),
    }
    statement = dialect.insert_absent(workflow_leader, values, incoming=incoming, key=("role",))
    return RowsStatement(statement, incoming)


@cache
def _select_left(dialect: Dialect) -> Select[Any]:
    return select(dialect.until(_table.expires_at)).where(_table.role == _ROLE)


def resign(
    connection: Connection, dialect: Dialect, writes: Sequence[LeadershipResigned], attempt: Attempt
) -> list[None]:
    """End the terms of these owners; whoever asks next leads."""
    dialect.run(connection, _end(dialect), [(write.owner,) for write in writes])
    return [None] * len(writes)


@cache
def _end(dialect: Dialect) -> RowsStatement:
    incoming = dialect.incoming(owner=LongText)
    statement = (
        update(workflow_leader)
        .where(_table.role == _ROLE, _table.owner == incoming["owner"])
        .values(owner=null(), expires_at=dialect.now())
    )
    return RowsStatement(statement, incoming)
