"""Instances as people see them: with the source text, and the last step as the current one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam, exists, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from edda.searching import InputFilter, Place, Search
from edda.storage.dialects.base import Dialect
from edda.storage.instances import COLUMNS, LAST_ROW, record_of
from edda.storage.models import workflow_definitions, workflow_history, workflow_instances, workflow_waits
from edda.storage.records import InstanceRecord
from edda.types import Status

# Rows that are looked through at a time, when inputs have to be read to be judged.
CHUNK = 500
# Longer texts are no patterns on SQLite, and no help anywhere.
_LONGEST_SIGN = 1000

_PARKED = frozenset({Status.WAITING_FOR_TIMER, Status.WAITING_FOR_MESSAGE})
_instances = workflow_instances.c
# A rollback has one status, whether it waits or not.
_WAITS = (
    exists()
    .where(
        _instances.lease_owner.is_(None),
        workflow_waits.c.instance_id == _instances.instance_id,
        workflow_waits.c.activity_id == _instances.current_activity_id,
    )
    .correlate(workflow_instances)
)
_SHOWN = select(
    *COLUMNS,
    workflow_definitions.c.source_code,
    workflow_history.c.activity_id.label("last_step"),
    workflow_history.c.created_at.label("last_step_at"),
    _WAITS.label("waits"),
).select_from(
    workflow_instances.outerjoin(
        workflow_definitions,
        (workflow_definitions.c.workflow_name == _instances.workflow_name)
        & (workflow_definitions.c.source_hash == _instances.source_hash),
    ).outerjoin(
        workflow_history,
        (workflow_history.c.instance_id == _instances.instance_id) & (workflow_history.c.id == LAST_ROW),
    )
)
_SHOW_ONE = _SHOWN.where(_instances.instance_id == bindparam("instance"))


async def load(connection: AsyncConnection, instance_id: str) -> InstanceRecord | None:
    """The instance, or None."""
    row = (await connection.execute(_SHOW_ONE, {"instance": instance_id})).mappings().one_or_none()
    return None if row is None else _shown(row)


async def find(
    connection: AsyncConnection, dialect: Dialect, search: Search
) -> tuple[list[InstanceRecord], bool]:
    """The first instances that match, the newest first, and whether there are more."""
    found = await _find_ids(connection, search)
    page = found[: search.limit]
    query = _SHOWN.where(dialect.member(_instances.instance_id, "instances"))
    rows = (await connection.execute(query, {"instances": page})).mappings() if page else ()
    shown = {row["instance_id"]: _shown(row) for row in rows}
    return [shown[each] for each in page if each in shown], len(found) > search.limit


async def _find_ids(connection: AsyncConnection, search: Search) -> list[str]:
    """The ids that match, one more than are wanted if there are so many."""
    wanted = search.limit + 1
    size = max(wanted, CHUNK) if search.input_filters else wanted
    found: list[str] = []
    place = search.after
    while len(found) < wanted:
        rows = (await connection.execute(candidates(search, place, size))).all()
        found += [row.instance_id for row in rows if search.matches_input(row.input_data)]
        if len(rows) < size:
            break
        place = Place(rows[-1].started_at, rows[-1].instance_id)
    return found[:wanted]


def candidates(search: Search, place: Place | None, size: int) -> Select[Any]:
    """The next rows that the database cannot rule out, in the order of the pages."""
    return (
        select(_instances.instance_id, _instances.started_at, _instances.input_data)
        .where(*_conditions(search, place))
        .order_by(_instances.started_at.desc(), _instances.instance_id.desc())
        .limit(size)
    )


def _conditions(search: Search, place: Place | None) -> Sequence[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if search.status is not None:
        conditions.append(_instances.status == search.status.value)
    if search.workflow_name is not None:
        conditions.append(_instances.workflow_name.icontains(search.workflow_name, autoescape=True))
    if search.instance_id is not None:
        conditions.append(_instances.instance_id.icontains(search.instance_id, autoescape=True))
    if search.started_after is not None:
        conditions.append(_instances.started_at >= search.started_after)
    if search.started_before is not None:
        conditions.append(_instances.started_at <= search.started_before)
    conditions += [condition for each in search.input_filters for condition in _may_match(each)]
    if place is not None:
        # Spelled so that every planner takes the first part for the range of the index.
        behind = or_(_instances.started_at < place.started_at, _instances.instance_id < place.instance_id)
        conditions += [_instances.started_at <= place.started_at, behind]
    return conditions


def _may_match(each: InputFilter) -> list[ColumnElement[bool]]:
    signs = each.signs()
    if not signs or max(map(len, signs)) > _LONGEST_SIGN:
        return []
    return [or_(*(_instances.input_data.contains(sign, autoescape=True) for sign in signs))]


def _shown(row: Mapping[Any, Any]) -> InstanceRecord:
    shown = dict(row)
    last_step, last_step_at = shown.pop("last_step"), shown.pop("last_step_at")
    is_open, status = shown.pop("waits"), Status(shown["status"])
    waits = is_open if status is Status.COMPENSATING else status in _PARKED
    if not waits and last_step is not None:
        shown["current_activity_id"] = last_step
    if last_step_at is not None:
        shown["updated_at"] = max(shown["updated_at"], last_step_at)
    return record_of(shown)
