"""The rows of the outbox: events to be sent, and what became of them.

Whoever adds events only inserts rows, and waits for nobody. What relayers do to a row
they do while they hold the lock of its key (:mod:`edda.storage.outbox_keys`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    bindparam,
    case,
    delete,
    literal_column,
    null,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from edda.ids import derived_key
from edda.storage.columns import Count, LongText
from edda.storage.dialects.base import Attempt, Dialect, Row, RowsStatement
from edda.storage.models import (
    ARRIVED_INDEX,
    OPEN_INDEX,
    PUBLISHED_INDEX,
    STATUS_INDEX,
    workflow_outbox,
    workflow_outbox_keys,
)
from edda.storage.records import LeasedEvent, OutboxRecord
from edda.storage.writes_outbox import (
    NewOutboxEvent,
    OutboxEventAdded,
    OutboxMarked,
    OutboxPurged,
    OutboxRequeued,
)
from edda.types import DataForm, OutboxStatus

_table = workflow_outbox.c


# -- adding ------------------------------------------------------------------------------


def add(
    connection: Connection, dialect: Dialect, writes: Sequence[OutboxEventAdded], attempt: Attempt
) -> list[None]:
    """Insert events, numbered in this order."""
    dialect.run(connection, _insert(dialect), [_row(write.event) for write in writes])
    return [None] * len(writes)


def _row(event: NewOutboxEvent) -> Row:
    return (
        event.event_id,
        event.event_type,
        event.source,
        event.subject,
        event.extensions,
        event.content_type,
        event.data,
        event.form.value,
        ordering_key(event.source, event.subject),
    )


def ordering_key(source: str, subject: str | None) -> str:
    """What the events have in common that are sent one after the other."""
    return derived_key(source) if subject is None else derived_key(source, subject)


_SENT = (
    "event_id",
    "event_type",
    "event_source",
    "subject",
    "extensions",
    "content_type",
    "event_data",
    "data_form",
    "ordering_key",
)


@cache
def _insert(dialect: Dialect) -> RowsStatement:
    incoming = dialect.incoming(**dict.fromkeys(_SENT, LongText))
    values = {
        **incoming.columns,
        "created_at": dialect.now(),
        "arrived_at": dialect.now(),
        "status": literal_column("'pending'"),
        "failures": literal_column("0"),
        "retry_count": literal_column("0"),
    }
    return RowsStatement(dialect.insert(workflow_outbox, values, incoming=incoming), incoming)


# -- what relayers do ----------------------------------------------------------------------


def find_arrived(connection: Connection, dialect: Dialect, *, limit: int) -> Sequence[Any]:
    """``id``, ``ordering_key`` and ``arrived_at`` of events that no relayer has seen, oldest first."""
    return connection.execute(_select_arrived(dialect), {"count": limit}).all()


@cache
def _select_arrived(dialect: Dialect) -> Select[Any]:
    query = (
        select(_table.id, _table.ordering_key, _table.arrived_at)
        .where(_table.arrived_at.is_not(None))
        .order_by(_table.arrived_at, _table.id)
        .limit(bindparam("count"))
    )
    return dialect.read_by_index(query, workflow_outbox, ARRIVED_INDEX)


def note_seen(connection: Connection, dialect: Dialect, ids: Sequence[int]) -> None:
    """These events have arrived; the caller has locked their keys."""
    dialect.run(connection, _see(dialect), [(each,) for each in sorted(ids)])


@cache
def _see(dialect: Dialect) -> RowsStatement:
    incoming = dialect.incoming(id=Count)
    statement = update(workflow_outbox).where(_table.id == incoming["id"]).values(arrived_at=null())
    return RowsStatement(statement, incoming)


def find_firsts(connection: Connection, dialect: Dialect, keys: Sequence[str]) -> dict[str, int]:
    """The id of the first open event of each of these keys that has one."""
    rows = connection.execute(_select_firsts(dialect), {"ordering_keys": list(keys)})
    return {row.ordering_key: row.first for row in rows if row.first is not None}


@cache
def _select_firsts(dialect: Dialect) -> Select[Any]:
    # One probe of the index for each key: a minimum over a group reads all rows of it.
    first = (
        select(_table.id)
        .where(_table.ordering_key == workflow_outbox_keys.c.ordering_key)
        .order_by(_table.ordering_key, _table.id)
        .limit(1)
        .correlate(workflow_outbox_keys)
    )
    return select(
        workflow_outbox_keys.c.ordering_key,
        dialect.read_by_index(first, workflow_outbox, OPEN_INDEX).scalar_subquery().label("first"),
    ).where(dialect.member(workflow_outbox_keys.c.ordering_key, "ordering_keys"))


def begin(
    connection: Connection, dialect: Dialect, leased: Sequence[tuple[int, str]]
) -> dict[str, LeasedEvent]:
    """Mark these (id, token) as being sent, and return them by key; the caller has locked their keys."""
    tokens = dict(leased)
    dialect.run(connection, _begin(dialect), [(each,) for each in sorted(tokens)])
    rows = connection.execute(_select_events(dialect), {"ids": sorted(tokens)})
    return {row.ordering_key: _leased(row, tokens[row.id]) for row in rows}


def _leased(row: Any, token: str) -> LeasedEvent:
    return LeasedEvent(
        id=row.id,
        ordering_key=row.ordering_key,
        token=token,
        event_id=row.event_id,
        event_type=row.event_type,
        source=row.event_source,
        subject=row.subject,
        extensions=row.extensions,
        content_type=row.content_type,
        data=row.event_data,
        form=DataForm(row.data_form),
        created_at=row.created_at,
        age=max(0.0, -float(row.until_created)),
        failures=row.failures,
        retry_count=row.retry_count,
        last_error=row.last_error,
    )


@cache
def _begin(dialect: Dialect) -> RowsStatement:
    incoming = dialect.incoming(id=Count)
    processing: ColumnElement[str] = literal_column("'processing'")
    statement = (
        update(workflow_outbox)
        .where(_table.id == incoming["id"])
        .values(status=processing, arrived_at=null())
    )
    return RowsStatement(statement, incoming)


@cache
def _select_events(dialect: Dialect) -> Select[Any]:
    until_created = dialect.until(_table.created_at).label("until_created")
    return select(workflow_outbox, until_created).where(dialect.member(_table.id, "ids"))


def mark(connection: Connection, dialect: Dialect, writes: Sequence[OutboxMarked]) -> None:
    """Write down what became of events that were being sent; the caller has locked their keys."""
    rows = (
        (write.event.id, write.status.value, write.error, write.failures, write.retry_count)
        for write in writes
    )
    dialect.run(connection, _mark(dialect), sorted(rows, key=itemgetter(0)))


@cache
def _mark(dialect: Dialect) -> RowsStatement:
    incoming = dialect.incoming(id=Count, status=LongText, error=LongText, failures=Count, retry_count=Count)
    stays = incoming["status"] == literal_column("'pending'")
    published = incoming["status"] == literal_column("'published'")
    statement = (
        update(workflow_outbox)
        .where(_table.id == incoming["id"], _table.status == literal_column("'processing'"))
        .values(
            status=incoming["status"],
            ordering_key=case((stays, _table.ordering_key), else_=null()),
            failures=incoming["failures"],
            retry_count=incoming["retry_count"],
            last_error=incoming["error"],
            published_at=case((published, dialect.now()), else_=null()),
        )
    )
    return RowsStatement(statement, incoming)


def requeue(
    connection: Connection, dialect: Dialect, writes: Sequence[OutboxRequeued], attempt: Attempt
) -> list[bool]:
    """Let events that were given up begin anew. They have no key, so no relayer looks at their rows."""
    return [_requeue(connection, dialect, write, attempt) for write in writes]


def _requeue(connection: Connection, dialect: Dialect, write: OutboxRequeued, attempt: Attempt) -> bool:
    rows = connection.execute(_select_given_up(dialect), {"event": write.event_id}).all()
    keys = [(row.id, ordering_key(row.event_source, row.subject)) for row in rows]
    if keys:
        dialect.run(connection, _begin_anew(dialect), keys)
    return bool(keys) or attempt is Attempt.UNCERTAIN  # then it may have been this very write


@cache
def _select_given_up(dialect: Dialect) -> Select[Any]:
    query = select(_table.id, _table.event_source, _table.subject).where(
        _table.status.in_([literal_column(f"'{status}'") for status in _GIVEN_UP]),
        _table.event_id == bindparam("event"),
    )
    return dialect.read_by_index(query, workflow_outbox, STATUS_INDEX).with_for_update()


_GIVEN_UP = (OutboxStatus.FAILED, OutboxStatus.INVALID, OutboxStatus.EXPIRED)


@cache
def _begin_anew(dialect: Dialect) -> RowsStatement:
    incoming = dialect.incoming(id=Count, ordering_key=LongText)
    statement = (
        update(workflow_outbox)
        .where(_table.id == incoming["id"])
        .values(
            status=literal_column("'pending'"),
            ordering_key=incoming["ordering_key"],
            arrived_at=dialect.now(),
            failures=literal_column("0"),
            retry_count=literal_column("0"),
        )
    )
    return RowsStatement(statement, incoming)


# -- retention and reading -----------------------------------------------------------------


def purge(
    connection: Connection, dialect: Dialect, writes: Sequence[OutboxPurged], attempt: Attempt
) -> list[int]:
    """Remove events published long ago; those that another worker removes now are passed over."""
    return [_purge(connection, dialect, write) for write in writes]


def _purge(connection: Connection, dialect: Dialect, write: OutboxPurged) -> int:
    parameters = {"age": -write.older_than, "count": write.limit}
    ids = list(connection.scalars(_select_old(dialect), parameters))
    if ids:
        dialect.run(connection, _delete(dialect), [(each,) for each in sorted(ids)])
    return len(ids)


@cache
def _select_old(dialect: Dialect) -> Select[Any]:
    query = (
        select(_table.id)
        .where(_table.published_at < dialect.after(bindparam("age")))
        .order_by(_table.published_at)
        .limit(bindparam("count"))
        .with_for_update(skip_locked=True)
    )
    return dialect.read_by_index(query, workflow_outbox, PUBLISHED_INDEX)


@cache
def _delete(dialect: Dialect) -> RowsStatement:
    incoming = dialect.incoming(id=Count)
    return RowsStatement(delete(workflow_outbox).where(_table.id == incoming["id"]), incoming)


async def load(
    connection: AsyncConnection, dialect: Dialect, status: OutboxStatus, *, limit: int
) -> list[OutboxRecord]:
    """The events of this status, the oldest first."""
    parameters = {"status": status.value, "count": limit}
    rows = await connection.execute(_select_by_status(dialect), parameters)
    return [_record(row) for row in rows]


@cache
def _select_by_status(dialect: Dialect) -> Select[Any]:
    query = (
        select(workflow_outbox)
        .where(_table.status == bindparam("status"))
        .order_by(_table.id)
        .limit(bindparam("count"))
    )
    return dialect.read_by_index(query, workflow_outbox, STATUS_INDEX)


def _record(row: Any) -> OutboxRecord:
    return OutboxRecord(
        event_id=row.event_id,
        event_type=row.event_type,
        event_source=row.event_source,
        event_data=row.event_data,
        form=DataForm(row.data_form),
        content_type=row.content_type,
        created_at=row.created_at,
        status=OutboxStatus(row.status),
        retry_count=row.retry_count,
        last_error=row.last_error,
        published_at=row.published_at,
    )
