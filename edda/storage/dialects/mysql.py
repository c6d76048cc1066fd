"""MySQL and MariaDB: a JSON table takes the rows in, and nothing returns rows it wrote."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from math import ceil
from typing import Any

from pydantic_core import to_json
from sqlalchemy import (
    URL,
    BigInteger,
    ColumnElement,
    Connection,
    Double,
    Executable,
    FromClause,
    Insert,
    Select,
    Table,
    and_,
    bindparam,
    column,
    func,
    literal_column,
    select,
    text,
    union_all,
)
from sqlalchemy.dialects.mysql import insert
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.types import TypeEngine

from edda.exceptions import StorageError
from edda.storage.columns import UTCDateTime
from edda.storage.committers import AsyncCommitter, Committer
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
    is_lost,
    with_texts_for_times,
)

CONNECT_SECONDS = 10
MIGRATION_SECONDS = 600

# A duplicate key too: rows are only inserted when absent, so another process was faster.
_CONFLICTS = frozenset({1020, 1062, 1205, 1213})
# Lost or refused connections, shutdown, too many connections, disk full, failover to a reader.
_BROKEN = frozenset(
    {
        1021,
        1040,
        1053,
        1077,
        1079,
        1203,
        1226,
        1290,
        1792,
        1836,
        1927,
        2002,
        2003,
        2006,
        2013,
        2014,
        2055,
        4031,
    }
)
_MIGRATION_LOCK = "edda_migration"
_ROWS = "incoming_rows"
_PREFIX = "in_"
_PACKET_LIMIT = "edda_max_allowed_packet"
_SELECT_PACKET_LIMIT = text("SELECT @@max_allowed_packet")
_STATEMENT_BYTES = 16_384
_STALL, _ENDS_IDLE = "edda_stall_seconds", "edda_ends_idle_transactions"
_FIND_IDLE_TIMEOUT = text("SHOW VARIABLES LIKE 'idle_transaction_timeout'")
_SET_IDLE_TIMEOUT = text("SET SESSION idle_transaction_timeout = :seconds")
_SET_LOCK_TIMEOUT = text("SET SESSION innodb_lock_wait_timeout = :seconds")
_PLACE = "place"
_QUESTIONS = (1, 8, 64)


class MySQLDialect(Dialect):
    """The rows of a statement are one JSON text, read as a table."""

    name = "mysql"
    driver = "aiomysql"
    extra = "mysql"

    def create_engine(self, url: URL, options: Mapping[str, Any]) -> AsyncEngine:
        connect_args = {"connect_timeout": CONNECT_SECONDS, "charset": "utf8mb4"}
        return create_async_engine(
            url, isolation_level="READ COMMITTED", connect_args=connect_args, **options
        )

    def create_committer(
        self, engine: AsyncEngine, gate: asyncio.Lock, *, stall_seconds: float = STALL_SECONDS
    ) -> Committer:
        return AsyncCommitter(engine, lambda connection: _prepare_writer(connection, ceil(stall_seconds)))

    def lift_limits(self, connection: Connection) -> None:
        if _ends_idle_transactions(connection):
            connection.execute(_SET_IDLE_TIMEOUT, {"seconds": 0})

    def restore_limits(self, connection: Connection) -> None:
        if _ends_idle_transactions(connection):
            connection.execute(_SET_IDLE_TIMEOUT, {"seconds": connection.info[_STALL]})

    def lock_migration(self, connection: Connection) -> None:
        """Held by the connection, since each statement that changes a table ends the transaction."""
        name = f"{_MIGRATION_LOCK}:{connection.scalar(text('SELECT DATABASE()'))}"[:64]
        parameters = {"name": name, "seconds": MIGRATION_SECONDS}
        if connection.scalar(text("SELECT GET_LOCK(:name, :seconds)"), parameters) != 1:
            raise StorageError(
                f"The lock for migrations was not free for {MIGRATION_SECONDS} seconds: "
                "another process is migrating, or stands still in the middle of it"
            )

    def unlock_migration(self, connection: Connection) -> None:
        name = f"{_MIGRATION_LOCK}:{connection.scalar(text('SELECT DATABASE()'))}"[:64]
        connection.execute(text("SELECT RELEASE_LOCK(:name)"), {"name": name})

    def classify(self, error: BaseException) -> Failure:
        if isinstance(error, ContentionError):
            return Failure.CONFLICT
        code = _error_code(error)
        if code in _CONFLICTS:
            return Failure.CONFLICT
        return Failure.UNREACHABLE if code in _BROKEN or is_lost(error) else Failure.REFUSED

    def now(self) -> ColumnElement[Any]:
        return func.utc_timestamp(literal_column("6"), type_=UTCDateTime())

    def after(self, seconds: ColumnElement[Any]) -> ColumnElement[Any]:
        microseconds = func.round(seconds * literal_column("1000000"))
        return func.timestampadd(literal_column("MICROSECOND"), microseconds, self.now(), type_=UTCDateTime())

    def until(self, moment: ColumnElement[Any]) -> ColumnElement[float]:
        microseconds: ColumnElement[float] = func.timestampdiff(
            literal_column("MICROSECOND"), self.now(), moment, type_=Double()
        )
        return microseconds * literal_column("1e-6", Double())

    def read_by_index(self, query: Select[Any], table: Table, index: str) -> Select[Any]:
        # A small table would be read and sorted as a whole, and every row read stays locked.
        return query.with_hint(table, f"FORCE INDEX ({index})", self.name)

    def incoming(self, **columns: TypeEngine[Any]) -> Incoming:
        specifications = ", ".join(
            f"{name} {_column_type(type_)} PATH '$[{position}]'"
            for position, (name, type_) in enumerate(columns.items())
        )
        # The names come from the statements of this package.
        read = f"JSON_TABLE(:{_ROWS}, '$[*]' COLUMNS ({_PLACE} FOR ORDINALITY, {specifications}))"
        table = text(f"SELECT * FROM {read} AS sent")  # noqa: S608
        sent = (column(_PLACE), *(column(name, type_) for name, type_ in columns.items()))
        source = table.columns(*sent).subquery("incoming")
        return Incoming({name: source.c[name] for name in columns}, columns, source)

    def run(self, connection: Connection, statement: RowsStatement, rows: Sequence[Row]) -> int:
        sent = to_json(with_texts_for_times(rows, statement.incoming.times))
        _check_size(connection, sent)
        return connection.execute(statement.statement, {_ROWS: sent.decode()}).rowcount

    def ask(self, connection: Connection, query: RowsQuery, rows: Sequence[Row]) -> list[Any]:
        found: list[Any] = []
        for chunk in _chunks(rows):
            values = [value for row in chunk for value in row]
            parameters = {f"{_PREFIX}{place}": value for place, value in enumerate(values)}
            found += connection.execute(questions(query, len(chunk)), parameters)
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
        # Not by IGNORE, which hides other errors, nor by a count of ON DUPLICATE KEY,
        # which is the same for a row inserted and a row found.
        there = and_(*(table.c[name] == values[name] for name in key))
        query = select(*values.values()).select_from(_source(incoming, guard).outerjoin(table, there))
        # A join returns rows in any order, and numbers are given to rows as they come.
        absent = query.where(table.c[key[0]].is_(None)).order_by(incoming.table.c[_PLACE])
        return insert(table).from_select(list(values), absent if guard is None else absent.with_for_update())

    def insert_or_replace(
        self,
        table: Table,
        values: Mapping[str, ColumnElement[Any]],
        *,
        incoming: Incoming,
        key: Sequence[str],
        guard: Guard | None = None,
    ) -> Insert:
        query = select(*values.values()).select_from(_source(incoming, guard)).with_for_update()
        statement = insert(table).from_select(list(values), query)
        replaced = {name: statement.inserted[name] for name in values if name not in key}
        return statement.on_duplicate_key_update(replaced)


@cache
def questions(query: RowsQuery, count: int) -> Executable:
    """The query for so many rows, one after another in one statement.

    Nothing lateral: MariaDB has no such tables, and only constants let it find the first
    row after a position without reading those before.
    """
    parts = []
    for number in range(count):
        places = enumerate(query.sent.items(), number * len(query.sent))
        columns = {name: bindparam(f"{_PREFIX}{place}", type_=type_) for place, (name, type_) in places}
        parts.append(query.limited(columns))
    return union_all(*parts) if count > 1 else parts[0]


def _chunks(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """The rows in pieces of few different sizes, filled up with rows that want nothing found."""
    for start in range(0, len(rows), _QUESTIONS[-1]):
        chunk = list(rows[start : start + _QUESTIONS[-1]])
        size = next(size for size in _QUESTIONS if size >= len(chunk))
        yield [*chunk, *([(*chunk[-1][:-1], 0)] * (size - len(chunk)))]


def _check_size(connection: Connection, sent: bytes) -> None:
    """Raise ValueError for what the server would answer by breaking the connection."""
    limit = _packet_limit(connection)
    # On the wire quotes and backslashes are doubled, and the statement comes with it.
    size = len(sent) + sent.count(b'"') + sent.count(b"'") + sent.count(b"\\") + _STATEMENT_BYTES
    if size > limit:
        raise ValueError(f"{size} bytes are more than max_allowed_packet of the server, {limit}")


def _packet_limit(connection: Connection) -> int:
    limit: int | None = connection.info.get(_PACKET_LIMIT)
    if limit is None:
        limit = connection.info[_PACKET_LIMIT] = int(connection.scalar(_SELECT_PACKET_LIMIT) or 0)
    return limit


def _source(incoming: Incoming, guard: Guard | None) -> FromClause:
    return incoming.table if guard is None else incoming.table.join(guard.table, and_(*guard.conditions))


def _column_type(type_: TypeEngine[Any]) -> str:
    if isinstance(type_, UTCDateTime):
        return "DATETIME(6)"
    if isinstance(type_, BigInteger):
        return "BIGINT"
    return "DOUBLE" if isinstance(type_, Double) else "LONGTEXT"


def _prepare_writer(connection: Connection, stall_seconds: int) -> None:
    connection.execution_options(isolation_level="READ COMMITTED")
    connection.detach()
    _packet_limit(connection)
    # A process that is stopped or out of reach in the middle of a transaction would keep its
    # locks, and the writers of all others that need one of them would wait.
    connection.info[_STALL] = stall_seconds
    connection.execute(_SET_LOCK_TIMEOUT, {"seconds": stall_seconds})
    if _ends_idle_transactions(connection):
        connection.execute(_SET_IDLE_TIMEOUT, {"seconds": stall_seconds})
    connection.rollback()


def _ends_idle_transactions(connection: Connection) -> bool:
    """Whether the server can: MariaDB does, MySQL does not."""
    known: bool | None = connection.info.get(_ENDS_IDLE)
    if known is None:
        known = connection.info[_ENDS_IDLE] = connection.execute(_FIND_IDLE_TIMEOUT).first() is not None
    return known


def _error_code(error: BaseException | None) -> int | None:
    while error is not None:
        arguments = getattr(error, "orig", error).args
        if arguments and isinstance(arguments[0], int) and not isinstance(error, OSError):
            return arguments[0]
        error = error.__cause__
    return None
