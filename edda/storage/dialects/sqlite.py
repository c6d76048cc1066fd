"""SQLite: one file, one writer at a time, and no clock of its own with microseconds."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from operator import itemgetter
from typing import Any
from weakref import WeakSet

from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    Insert,
    Select,
    Table,
    bindparam,
    create_engine,
    event,
    exists,
    func,
    literal_column,
    select,
    true,
)
from sqlalchemy.dialects.sqlite import dialect as sqlite_dialect
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine import result_tuple
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, NullPool
from sqlalchemy.types import TypeEngine
from sqlalchemy.util import await_only

import edda.clock
from edda.ids import new_worker_id
from edda.storage.columns import Seconds, UTCDateTime
from edda.storage.committers import Committer, GateBusyError, ThreadCommitter
from edda.storage.dialects.base import (
    STALL_SECONDS,
    ContentionError,
    Dialect,
    Failure,
    Guard,
    Incoming,
    Row,
    RowsQuery,
    RowsStatement,
    with_texts_for_times,
)

BUSY_SECONDS = 10.0
READERS = 8

_CONFLICTS = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_SCHEMA})
_BROKEN = frozenset(
    {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL, sqlite3.SQLITE_PROTOCOL}
)
_PRIMARY_CODE = 0xFF
_PREFIX = "in_"
_AT_GATE = "edda_at_gate"
# The text of a time without its offset, which is always UTC.
_STORED_LENGTH = len("2000-01-01 00:00:00.000000")


class SQLiteDialect(Dialect):
    """The rows of a statement are its parameters: it is executed once for each."""

    name = "sqlite"
    driver = "aiosqlite"
    has_one_writer = True

    def create_engine(self, url: URL, options: Mapping[str, Any]) -> AsyncEngine:
        """Readers; the options of the pool mean nothing for a file."""
        if is_memory(url):
            # Under this name all connections of the process see one database in memory.
            url = url.set(database=f"file:/{new_worker_id('edda')}", query={"vfs": "memdb", "uri": "true"})
        engine = create_async_engine(
            url,
            poolclass=AsyncAdaptedQueuePool,
            pool_size=READERS,
            connect_args={"timeout": BUSY_SECONDS, "isolation_level": None},
        )
        event.listen(engine.sync_engine, "connect", _set_up)
        return engine

    def adopt_engine(self, engine: AsyncEngine) -> AsyncEngine:
        """An engine of ours on the same file, since connections made elsewhere lack our settings."""
        if is_memory(engine.url):
            raise ValueError("a database in memory belongs to its engine: pass its URL instead")
        return self.create_engine(engine.url, {})

    def create_committer(
        self, engine: AsyncEngine, gate: asyncio.Lock, *, stall_seconds: float = STALL_SECONDS
    ) -> Committer:
        """No server is there that could end the transaction of a process that stands still."""
        # isolation_level None: otherwise the driver begins transactions as readers, and
        # of two that read and then write one is lost without an error.
        writer = create_engine(
            engine.url.set(drivername="sqlite"),
            poolclass=NullPool,
            connect_args={"timeout": BUSY_SECONDS, "isolation_level": None, "check_same_thread": False},
        )
        event.listen(writer, "connect", _set_up)
        event.listen(writer, "connect", _use_write_ahead_log)
        event.listen(writer, "begin", _begin_as_writer)
        in_memory = "vfs" in engine.url.query
        return ThreadCommitter(writer, gate, keeper=writer.connect() if in_memory else None)

    def create_read_engine(self, engine: AsyncEngine) -> AsyncEngine:
        """The given one: sessions have an engine of their own."""
        return engine

    def create_session_engine(self, engine: AsyncEngine, gate: asyncio.Lock) -> AsyncEngine:
        """Transactions that begin as writers, each while it holds the gate."""
        sessions = create_async_engine(
            engine.url,
            poolclass=AsyncAdaptedQueuePool,
            max_overflow=-1,  # they queue at the gate, not for a connection
            connect_args={
                "timeout": BUSY_SECONDS,
                "isolation_level": None,
                "factory": _SessionConnection,
            },
        )

        owner = threading.get_ident()

        def begin(connection: Connection) -> None:
            await_only(gate.acquire())
            connection.info[_AT_GATE] = asyncio.get_event_loop()
            connection.exec_driver_sql("BEGIN IMMEDIATE")

        def leave(_: object, record: Any) -> None:
            loop = record.info.pop(_AT_GATE, None)
            if loop is None:
                return
            if threading.get_ident() == owner:
                gate.release()
            else:  # a thread of sync code
                loop.call_soon_threadsafe(gate.release)

        event.listen(sessions.sync_engine, "connect", _set_up)
        event.listen(sessions.sync_engine, "begin", begin)
        event.listen(sessions.sync_engine, "checkin", leave)
        return sessions

    def lock_migration(self, connection: Connection) -> None:
        """Nothing to do: the transaction began as the one writer."""

    def unlock_migration(self, connection: Connection) -> None:
        """Nothing to do: the end of the transaction unlocks."""

    def classify(self, error: BaseException) -> Failure:
        if isinstance(error, ContentionError | GateBusyError):
            return Failure.CONFLICT
        cause = error.orig if isinstance(error, DBAPIError) else error
        code = getattr(cause, "sqlite_errorcode", 0) & _PRIMARY_CODE
        if code in _CONFLICTS:
            return Failure.CONFLICT
        return Failure.UNREACHABLE if code in _BROKEN else Failure.REFUSED

    def now(self) -> ColumnElement[Any]:
        return func.edda_now(type_=UTCDateTime())

    def after(self, seconds: ColumnElement[Any]) -> ColumnElement[Any]:
        return func.edda_after(seconds, type_=UTCDateTime())

    def until(self, moment: ColumnElement[Any]) -> ColumnElement[float]:
        return func.edda_until(moment, type_=Seconds)

    def read_by_index(self, query: Select[Any], table: Table, index: str) -> Select[Any]:
        """As it is: the planner takes the index."""
        return query

    def incoming(self, **columns: TypeEngine[Any]) -> Incoming:
        return Incoming(
            {name: bindparam(_PREFIX + name, type_=type_) for name, type_ in columns.items()}, columns
        )

    def run(self, connection: Connection, statement: RowsStatement, rows: Sequence[Row]) -> int:
        # Past the parameter handling of SQLAlchemy, which costs more than inserting the row.
        text, arrange = _compile(statement)
        parameters = list(map(arrange, with_texts_for_times(rows, statement.incoming.times)))
        return connection.exec_driver_sql(text, parameters).rowcount

    def ask(self, connection: Connection, query: RowsQuery, rows: Sequence[Row]) -> list[Any]:
        # Asked one by one, since the database is in this process, and of the driver itself:
        # SQLAlchemy would take many times as long as the answer.
        text, arrange, read = question(query)
        cursor: Any = connection.connection.cursor()
        found: list[Any] = []
        for row in rows:
            cursor.execute(text, arrange(row))
            found += map(read, cursor.fetchall())
        cursor.close()
        return found

    def insert_absent(
        self,
        table: Table,
        values: Mapping[str, ColumnElement[Any]],
        *,
        incoming: Incoming,
        key: Sequence[str],
        guard: Guard | None = None,
    ) -> Insert:
        query = _guarded(values, guard)
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
        statement = insert(table).from_select(list(values), _guarded(values, guard))
        replaced = {name: statement.excluded[name] for name in values if name not in key}
        return statement.on_conflict_do_update(index_elements=list(key), set_=replaced)


class _SessionConnection(sqlite3.Connection):
    """Its transaction ends when it is closed.

    SQLite keeps a closed connection, with its locks, for as long as one of its statements
    is alive. The cursor of a statement that was cancelled is: the traceback of the
    cancellation refers to it until the garbage is collected.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._cursors: WeakSet[sqlite3.Cursor] = WeakSet()

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        """A cursor that is closed at the latest together with the connection."""
        cursor = super().cursor(*args, **kwargs)
        self._cursors.add(cursor)
        return cursor

    def close(self) -> None:
        """Let the database go for good."""
        for cursor in list(self._cursors):
            cursor.close()
        super().close()


def is_memory(url: URL) -> bool:
    """Whether this URL names no file."""
    return url.database in (None, "", ":memory:")


@cache
def _compile(statement: RowsStatement) -> tuple[str, Callable[[Row], Row]]:
    """The text of the statement, and what brings the values of a row into the order of its placeholders."""
    compiled = statement.statement.compile(dialect=sqlite_dialect())
    names = [_PREFIX + name for name in statement.incoming.columns]
    positions = [names.index(name) for name in compiled.positiontup or ()]
    if len(positions) == 1:
        return str(compiled), lambda row: (row[positions[0]],)
    return str(compiled), itemgetter(*positions)


@cache
def one_question(query: RowsQuery) -> Select[Any]:
    """The query for one row, whose values are parameters."""
    return query.limited({name: bindparam(name, type_=type_) for name, type_ in query.sent.items()})


@cache
def question(query: RowsQuery) -> tuple[str, Callable[[Row], Row], Callable[[Row], Any]]:
    """The text of the query, what brings the values of a row into its order, and what reads an answer."""
    dialect, statement = sqlite_dialect(), one_question(query)
    compiled = statement.compile(dialect=dialect)
    places = {name: place for place, name in enumerate(query.sent)}
    # The last one that SQLAlchemy adds is the offset of the limit, a constant.
    constants = {name: value for name, value in compiled.params.items() if name not in places}
    order = [(places.get(name), constants.get(name)) for name in compiled.positiontup or ()]

    def arrange(row: Row) -> Row:
        return tuple(constant if place is None else row[place] for place, constant in order)

    return str(compiled), arrange, _reader(statement)


def _reader(statement: Select[Any]) -> Callable[[Row], Any]:
    """What makes of the values of the driver those of the columns, by their names."""
    columns = list(statement.selected_columns)
    types = [column.type.dialect_impl(sqlite_dialect()) for column in columns]
    convert = [type_.result_processor(sqlite_dialect(), None) for type_ in types]
    found = result_tuple([column.name for column in columns])

    def read(row: Row) -> Any:
        pairs = zip(convert, row, strict=True)
        return found([value if converter is None else converter(value) for converter, value in pairs])

    return read


def _guarded(values: Mapping[str, ColumnElement[Any]], guard: Guard | None) -> Select[Any]:
    # SQLite takes an ON CONFLICT after a SELECT for part of the SELECT unless there is a WHERE.
    query = select(*values.values())
    if guard is None:
        return query.where(true())
    return query.where(exists(select(literal_column("1")).select_from(guard.table).where(*guard.conditions)))


def _set_up(connection: Any, _record: object) -> None:
    connection.create_function("edda_now", 0, _now)
    connection.create_function("edda_after", 1, _after)
    connection.create_function("edda_until", 1, _until)
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _use_write_ahead_log(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA journal_mode = WAL").close()


def _begin_as_writer(connection: Connection) -> None:
    # On the driver's connection: one call less on the way of every commit.
    driver: Any = connection.connection.driver_connection
    driver.execute("BEGIN IMMEDIATE")


# The functions give and take what the time columns hold, so that times compare as text.
def _now() -> str:
    return _stored(edda.clock.now())


def _after(seconds: float | None) -> str | None:
    return None if seconds is None else _stored(edda.clock.now() + timedelta(seconds=seconds))


def _until(moment: str | None) -> float | None:
    if moment is None:
        return None
    return (datetime.fromisoformat(moment).replace(tzinfo=UTC) - edda.clock.now()).total_seconds()


def _stored(moment: datetime) -> str:
    return moment.isoformat(" ", "microseconds")[:_STORED_LENGTH]
