"""Who waits for a message: parked instances, which nobody runs and a message makes due.

A leased one is never woken: it looks for messages by itself, in the write that parks it,
under the lock of the channel. Nor is one that was set aside, which keeps its delay.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache
from itertools import islice
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    CompoundSelect,
    Connection,
    Select,
    Update,
    and_,
    func,
    literal_column,
    null,
    or_,
    select,
    union_all,
    update,
)

from edda.storage import messages
from edda.storage.columns import LongText
from edda.storage.dialects.base import Dialect, RowsQuery
from edda.storage.messages import Queue
from edda.storage.models import workflow_instances, workflow_waits
from edda.types import TERMINAL_STATUSES, Status

EVERYONE = 2**31 - 1
# More than so many that compete for one channel are not counted anew at each message.
_CROWD = 1000
# SQLite has a limit of parameters.
_AT_ONCE = 10_000

_instances = workflow_instances.c
_waits = workflow_waits.c
# One that compensates keeps its status when it parks; an error says that it was set aside.
_PARKED = and_(
    _instances.lease_owner.is_(null()),
    or_(
        _instances.status == literal_column(f"'{Status.WAITING_FOR_MESSAGE}'"),
        and_(
            _instances.status == literal_column(f"'{Status.COMPENSATING}'"),
            _instances.last_error.is_(null()),
        ),
    ),
)
LIVE: list[ColumnElement[str]] = [
    literal_column(f"'{status}'") for status in Status if status not in TERMINAL_STATUSES
]


def of_channels(
    connection: Connection, dialect: Dialect, channels: Mapping[str, int]
) -> dict[str, list[str]]:
    """The instances that wait on these channels, at most so many of each."""
    found: dict[str, list[str]] = {}
    if channels:
        for row in dialect.ask(connection, WAITING, sorted(channels.items())):
            found.setdefault(row.channel, []).append(row.instance_id)
    return found


WAITING = RowsQuery(
    lambda asked: (
        select(_waits.channel, _waits.instance_id)
        .select_from(workflow_waits.join(workflow_instances, _instances.instance_id == _waits.instance_id))
        .where(_waits.channel == asked["channel"], _PARKED)
    ),
    {"channel": LongText},
)


def competing(connection: Connection, dialect: Dialect, channels: Collection[str]) -> set[str]:
    """Of those that wait on these channels, as many for each as there are messages.

    Messages count again until they are taken: whoever was woken for one may never come,
    and one that is woken in vain costs less than one that sleeps while a message waits.
    """
    waiting = of_channels(connection, dialect, dict.fromkeys(channels, _CROWD))
    crowds = {channel: list(dict.fromkeys(ids)) for channel, ids in waiting.items()}
    there = messages.count(connection, dialect, {channel: len(ids) for channel, ids in crowds.items()})
    return {chosen for channel, ids in crowds.items() for chosen in islice(ids, there[channel])}


def of_targets(
    connection: Connection, dialect: Dialect, queues: Collection[Queue]
) -> dict[Queue, str | None]:
    """Those of these (channel, chain) that have an open wait, each with the instance if it can be woken."""
    if not queues:
        return {}
    rows = connection.execute(_select_targets(dialect), {"chains": sorted({chain for _, chain in queues})})
    found = {(row.channel, row.chain): row for row in rows}
    return {
        queue: row.instance_id if row.is_parked else None for queue, row in found.items() if queue in queues
    }


@cache
def _select_targets(dialect: Dialect) -> CompoundSelect[Any]:
    """By either id of a live instance: its own or that of its chain, each of which has an index."""
    first = _with_waits(dialect, _instances.instance_id)
    later = _with_waits(dialect, _instances.chain_id).where(_instances.status.in_(LIVE))
    return union_all(first, later)


def _with_waits(dialect: Dialect, column: Column[Any]) -> Select[Any]:
    chain = func.coalesce(_instances.chain_id, _instances.instance_id).label("chain")
    return (
        select(_waits.channel, chain, _instances.instance_id, _PARKED.label("is_parked"))
        .select_from(workflow_instances.join(workflow_waits, _waits.instance_id == _instances.instance_id))
        .where(dialect.member(column, "chains"))
    )


def wake(connection: Connection, dialect: Dialect, instance_ids: Collection[str]) -> bool:
    """Make these instances due unless somebody has them or they are; say whether any was."""
    ids = sorted(instance_ids)
    parts = [ids[start : start + _AT_ONCE] for start in range(0, len(ids), _AT_ONCE)]
    return sum(connection.execute(_wake(dialect), {"woken": part}).rowcount for part in parts) > 0


@cache
def _wake(dialect: Dialect) -> Update:
    # A list of ids is looked up in the primary key. Joined to rows, which a planner takes for
    # few where it knows no statistics, 10,000 waiters were compared with each other.
    return (
        update(workflow_instances)
        .where(
            dialect.member(_instances.instance_id, "woken"),
            _PARKED,
            or_(_instances.due_at.is_(null()), _instances.due_at > dialect.now()),
        )
        .values(due_at=dialect.now())
    )
