"""Removing instances that ended long ago: each whole, with everything that is kept under its id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Delete,
    Select,
    Table,
    bindparam,
    delete,
    literal_column,
    or_,
    select,
)

from edda.storage import history
from edda.storage.columns import LongText, Seconds, UTCDateTime
from edda.storage.dialects.base import Attempt, Dialect
from edda.storage.models import (
    STARTED_INDEX,
    workflow_history,
    workflow_history_archive,
    workflow_instances,
    workflow_waits,
)
from edda.storage.upkeep_writes import InstancesPurged, InstancesSwept
from edda.types import TERMINAL_STATUSES

_table = workflow_instances.c
_ENDED: list[ColumnElement[str]] = [literal_column(f"'{status}'") for status in sorted(TERMINAL_STATUSES)]


def _delete_of(table: Table) -> Delete:
    # One by one: for several at once MariaDB would read the whole of a small table, and wait
    # for those of its rows that others have locked.
    return delete(table).where(table.c.instance_id == bindparam("its_id"))


_DELETES = tuple(
    _delete_of(table)
    for table in (workflow_history, workflow_history_archive, workflow_waits, workflow_instances)
)


def purge(
    connection: Connection, dialect: Dialect, writes: Sequence[InstancesPurged], attempt: Attempt
) -> list[InstancesSwept]:
    """Remove ended instances; those that somebody has locked at this moment are passed over."""
    return [_purge(connection, dialect, write) for write in writes]


def _purge(connection: Connection, dialect: Dialect, write: InstancesPurged) -> InstancesSwept:
    page = _page(connection, dialect, write)
    ended = _lock_ended(connection, dialect, write, [row.instance_id for row in page])
    sizes = history.count(connection, dialect, sorted(ended)) if ended else {}
    removed: list[str] = []
    rows = 0
    last = None
    for row in page:
        if row.instance_id in ended:
            rows += sizes.get(row.instance_id, 0)
            if removed and rows > write.rows:
                break
            removed.append(row.instance_id)
        last = row
    else:
        if len(page) < write.limit:
            last = None
    for statement in _DELETES if removed else ():
        connection.execute(statement, [{"its_id": instance_id} for instance_id in removed])
    rest = None if last is None else replace(write, since=last.started_at, after=last.instance_id)
    return InstancesSwept(len(removed), rest)


def _page(connection: Connection, dialect: Dialect, write: InstancesPurged) -> Sequence[Any]:
    parameters = {
        "age": -write.older_than,
        "since": write.since,
        "after_id": write.after,
        "count": write.limit,
    }
    return connection.execute(_select_page(dialect), parameters).all()


@cache
def _select_page(dialect: Dialect) -> Select[Any]:
    # What has ended so long ago was started so long ago. Live ones are looked at, too: an index of
    # the ended ones alone would be a cost for each end of an instance, with or without retention.
    since = bindparam("since", type_=UTCDateTime)
    query = (
        select(_table.started_at, _table.instance_id)
        .where(
            _table.started_at >= since,
            or_(_table.started_at > since, _table.instance_id > bindparam("after_id", type_=LongText)),
            _table.started_at < dialect.after(bindparam("age", type_=Seconds)),
        )
        .order_by(_table.started_at, _table.instance_id)
        .limit(bindparam("count"))
    )
    return dialect.read_by_index(query, workflow_instances, STARTED_INDEX)


def _lock_ended(
    connection: Connection, dialect: Dialect, write: InstancesPurged, instance_ids: Sequence[str]
) -> set[str]:
    if not instance_ids:
        return set()
    parameters = {"age": -write.older_than, "ids": sorted(instance_ids)}
    return set(connection.scalars(_select_ended(dialect), parameters))


@cache
def _select_ended(dialect: Dialect) -> Select[Any]:
    # The end was the last change of its row.
    query = (
        select(_table.instance_id)
        .where(
            dialect.member(_table.instance_id, "ids"),
            _table.status.in_(_ENDED),
            _table.updated_at < dialect.after(bindparam("age", type_=Seconds)),
        )
        .order_by(_table.instance_id)
        .with_for_update(skip_locked=True)
    )
    return dialect.read_by_index(query, workflow_instances, "PRIMARY")
