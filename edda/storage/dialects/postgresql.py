"""PostgreSQL: arrays take the rows in, row locks hold the fence."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any

from sqlalchemy import (
    ARRAY,
    CHAR,
    URL,
    ColumnElement,
    Connection,
    Double,
    Insert,
    Select,
    String,
    Table,
    any_,
    bindparam,
    cast,
    column,
    extract,
    func,
    literal_column,
    select,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.types import TypeEngine

from edda.storage.columns import LongText, UTCDateTime
from edda.storage.committers import AsyncCommitter, Committer, Job
from edda.storage.dialects import notifications, pooling
from edda.storage.dialects.base import (
    STALL_SECONDS,
    ContentionError,
    Dialect,
    Failure,
    Guard,
    Incoming,
    Line,
    Row,
    RowsQuery,
    RowsStatement,
    is_lost,
)

CONNECT_SECONDS = 10.0

_CONFLICTS = frozenset({"40001", "40P01", "55P03", "0A000"})
# Connection trouble, shutdown and start-up, too many connections, no memory or disk, failover to a reader.
_BROKEN_CLASSES = frozenset({"08", "53", "58"})
_BROKEN = frozenset({"57P01", "57P02", "57P03", "57P05", "25006", "25P03"})
# Any number that no other user of advisory locks on this database is likely to have.
_MIGRATION_LOCK = 0x65646461_6D696772
_PREFIX = "in_"
_LIMITS = ("idle_in_transaction_session_timeout", "lock_timeout")
# All statements of the writer are index probes. A plan made while the tables were small would
# otherwise read them whole until the next ANALYZE.
_AVOIDED = ("enable_seqscan", "enable_bitmapscan", "enable_hashjoin", "enable_mergejoin", "jit")


class PostgreSQLDialect(Dialect):
    """The rows of a statement are arrays, one for each column, unnested side by side."""

    name = "postgresql"
    driver = "asyncpg"
    extra = "postgresql"
    notifies = True

    def create_engine(self, url: URL, options: Mapping[str, Any]) -> AsyncEngine:
        connect_args = {"timeout": CONNECT_SECONDS} if url.get_driver_name() == "asyncpg" else {}
        return self.adopt_engine(
            create_async_engine(url, isolation_level="READ COMMITTED", connect_args=connect_args, **options)
        )

    def adopt_engine(self, engine: AsyncEngine) -> AsyncEngine:
        """The engine itself; behind a proxy it prepares nothing."""
        pooling.watch_for_proxies(engine)
        return engine

    def create_committer(
        self, engine: AsyncEngine, gate: asyncio.Lock, *, stall_seconds: float = STALL_SECONDS
    ) -> Committer:
        return AsyncCommitter(engine, lambda connection: _prepare_writer(connection, stall_seconds))

    def lift_limits(self, connection: Connection) -> None:
        """For this transaction alone, so that there is nothing to restore."""
        for limit in _LIMITS:
            connection.execute(text(f"SET LOCAL {limit} = 0"))

    def lock_migration(self, connection: Connection) -> None:
        """Held until the end of the transaction."""
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})

    def unlock_migration(self, connection: Connection) -> None:
        """Nothing to do: the end of the transaction unlocks."""

    def classify(self, error: BaseException) -> Failure:
        if isinstance(error, ContentionError):
            return Failure.CONFLICT
        state = _sqlstate(error)
        if state in _CONFLICTS:
            return Failure.CONFLICT
        if state in _BROKEN or (state or "")[:2] in _BROKEN_CLASSES:
            return Failure.UNREACHABLE
        if state is None and is_lost(error):
            return Failure.UNREACHABLE
        return Failure.REFUSED

    def notify(self, connection: Connection, payload: str) -> None:
        notifications.send(connection, payload)

    async def listen(self, engine: AsyncEngine, hear: Callable[[str], None]) -> Line:
        return await notifications.PostgreSQLLine.open(engine, hear)

    def now(self) -> ColumnElement[Any]:
        # Stable within a statement, so that an index can be searched with it.
        return func.statement_timestamp(type_=UTCDateTime())

    def after(self, seconds: ColumnElement[Any]) -> ColumnElement[Any]:
        return self.now() + seconds.op("*", return_type=UTCDateTime())(literal_column("interval '1 second'"))

    def until(self, moment: ColumnElement[Any]) -> ColumnElement[float]:
        return cast(extract("epoch", moment - self.now()), Double)

    def member(self, column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
        # One text for any number of values: a prepared statement is kept for each text.
        # An array of texts, except where the column is padded: of that the index is not one of texts.
        is_text = isinstance(column.type, String) and not isinstance(column.type, CHAR)
        type_ = LongText if is_text else column.type
        return column == any_(bindparam(name, type_=ARRAY(type_)))

    def read_by_index(self, query: Select[Any], table: Table, index: str) -> Select[Any]:
        """As it is: the planner takes the index."""
        return query

    def among(self, column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
        # Of the bare column the planner would make a condition of the index, and then
        # the index no longer gives its rows in order: all that are due would be sorted.
        return self.member(column.concat(""), name)

    def incoming(self, **columns: TypeEngine[Any]) -> Incoming:
        arrays = [bindparam(_PREFIX + name, type_=ARRAY(type_)) for name, type_ in columns.items()]
        names = [column(name, type_) for name, type_ in columns.items()]
        source = func.unnest(*arrays).table_valued(*names).render_derived(name="incoming")
        return Incoming({name: source.c[name] for name in columns}, columns, source)

    def run(self, connection: Connection, statement: RowsStatement, rows: Sequence[Row]) -> int:
        arrays = zip(statement.incoming.columns, zip(*rows, strict=True), strict=True)
        parameters = {_PREFIX + name: values for name, values in arrays}
        return connection.execute(statement.statement, parameters).rowcount

    def ask(self, connection: Connection, query: RowsQuery, rows: Sequence[Row]) -> list[Any]:
        arrays = zip(query.sent, zip(*rows, strict=True), strict=True)
        parameters = {_PREFIX + name: list(values) for name, values in arrays}
        return list(connection.execute(all_questions(self, query), parameters))

    def insert_absent(
        self,
        table: Table,
        values: Mapping[str, ColumnElement[Any]],
        *,
        incoming: Incoming,
        key: Sequence[str],
        guard: Guard | None = None,
    ) -> Insert:
        query = _guarded(values, incoming, guard)
        return insert(table).from_select(list(values), query).on_conflict_do_nothing(index_elements=list(key))

    def insert_or_replace(
        self,
        table: Table,
        values: Mapping[str, ColumnElement[Any]],
        *,
        incoming: Incoming,
        key: Sequence[str],
        guard: Guard | None = None,
    ) -> Insert:
        statement = insert(table).from_select(list(values), _guarded(values, incoming, guard))
        replaced = {name: statement.excluded[name] for name in values if name not in key}
        return statement.on_conflict_do_update(index_elements=list(key), set_=replaced)


@cache
def all_questions(dialect: PostgreSQLDialect, query: RowsQuery) -> Select[Any]:
    """The query for any number of rows: lateral, so that each of them probes the index."""
    incoming = dialect.incoming(**query.sent)
    found = query.limited(incoming.columns).correlate(incoming.table).lateral("found")
    return select(*found.c).select_from(incoming.table.join(found, true()))


def _guarded(
    values: Mapping[str, ColumnElement[Any]], incoming: Incoming, guard: Guard | None
) -> Select[Any]:
    query = select(*values.values())
    if guard is None:
        return query.select_from(incoming.table)
    # Lateral: each row probes the index for its own guard and locks it, in the order
    # sent, also on a table whose size the planner does not know.
    held = (
        select(literal_column("1"))
        .select_from(guard.table)
        .where(*guard.conditions)
        .correlate(incoming.table)
        .with_for_update(key_share=True)
        .lateral("held")
    )
    return query.select_from(incoming.table.join(held, true()))


def _prepare_writer(connection: Connection, stall_seconds: float) -> Job[None] | None:
    connection.execution_options(isolation_level="READ COMMITTED")
    connection.detach()
    # A process that is stopped or out of reach in the middle of a transaction would keep its
    # locks, and the writers of all others that need one of them would wait.
    limits = dict.fromkeys(_LIMITS, str(round(stall_seconds * 1000)))
    settings = {**dict.fromkeys(_AVOIDED, "off"), **limits}
    if pooling.is_direct(connection):
        _set(connection, settings, local=False)
        connection.commit()
        return None
    # They must not outlast a transaction: the next one on that connection may be anybody's.
    connection.rollback()
    return partial(_set, settings=settings, local=True)


def _set(connection: Connection, settings: Mapping[str, str], *, local: bool) -> None:
    changes = (func.set_config(name, value, local) for name, value in settings.items())
    connection.execute(select(*changes))


def _sqlstate(error: BaseException | None) -> str | None:
    while error is not None:
        state = getattr(getattr(error, "orig", error), "sqlstate", None)
        if state is not None:
            return str(state)
        error = error.__cause__
    return None
