"""What one database does in its own way; everything else is written once.

A statement that takes in rows is written against an :class:`Incoming`: its columns
stand for the rows sent along. The text of such a statement is the same for one row
and for five hundred, so that it is built, compiled and prepared once.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Any, ClassVar, Protocol

from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    Delete,
    FromClause,
    Insert,
    Select,
    Table,
    Update,
    bindparam,
    insert,
    select,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.types import TypeEngine

from edda.storage.columns import Count, UTCDateTime
from edda.storage.committers import Committer, with_own_pool

Row = tuple[Any, ...]

LIMIT = "at_most"

STALL_SECONDS = 10.0


class Failure(Enum):
    """What a failed transaction means for the writes in it."""

    REFUSED = auto()
    """The database does not take one of these writes and never will."""
    CONFLICT = auto()
    """Two transactions were in each other's way; the same again will do."""
    UNREACHABLE = auto()
    """The database or the way to it is broken; a commit under way may have happened."""


class Attempt(Enum):
    """How much a batch may take for granted."""

    FIRST = auto()
    """Nothing was tried before: new rows may be assumed to be new."""
    REPEATED = auto()
    """An earlier attempt was rolled back: look before inserting."""
    UNCERTAIN = auto()
    """An earlier attempt may have been committed: what is there may be our own."""
    SEPARATE = auto()
    """A transaction of the user: what is there, even if it looks the same, is of another one."""


class ContentionError(Exception):
    """A batch assumed that its new rows are new, and they are not; the careful way finds out which."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """The rows sent along with a statement, as columns."""

    columns: Mapping[str, ColumnElement[Any]]
    types: Mapping[str, TypeEngine[Any]]
    source: FromClause | None = None

    @property
    def table(self) -> FromClause:
        """The rows as a table, in dialects that have them as one."""
        if self.source is None:
            raise TypeError("the rows come one by one, as parameters")
        return self.source

    @property
    def times(self) -> tuple[int, ...]:
        """The positions of the columns that hold times."""
        return tuple(n for n, type_ in enumerate(self.types.values()) if isinstance(type_, UTCDateTime))

    def __getitem__(self, name: str) -> ColumnElement[Any]:
        return self.columns[name]


@dataclass(frozen=True, slots=True)
class Guard:
    """Rows that must exist for an incoming row to count; they stay locked until the commit."""

    table: Table
    conditions: tuple[ColumnElement[bool], ...]


@dataclass(frozen=True, slots=True, eq=False)
class RowsStatement:
    """A statement together with the rows it takes in, whose values are in the order of their columns."""

    statement: Insert | Update | Delete
    incoming: Incoming


@dataclass(frozen=True, slots=True, eq=False)
class RowsQuery:
    """A query asked once for each row sent along, for the first few rows that it finds.

    ``build`` makes the query from the columns of a row. The rows end with one value more
    than there are columns: how many rows to find at most. So however much there is to
    find, each question reads what it is answered with.
    """

    build: Callable[[Mapping[str, ColumnElement[Any]]], Select[Any]]
    types: Mapping[str, TypeEngine[Any]]

    def limited(self, columns: Mapping[str, ColumnElement[Any]]) -> Select[Any]:
        """The query for the row with these columns, the limit among them."""
        return self.build(columns).limit(columns[LIMIT])

    @property
    def sent(self) -> dict[str, TypeEngine[Any]]:
        """The columns of the rows sent along."""
        return {**self.types, LIMIT: Count}


def with_texts_for_times(rows: Sequence[Row], positions: Sequence[int]) -> Sequence[Row]:
    """The rows with their times as SQL spells them, in UTC, for drivers that are sent plain values."""
    if not positions:
        return rows
    return [
        tuple(_as_text(value) if position in positions else value for position, value in enumerate(row))
        for row in rows
    ]


def _as_text(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


def is_lost(error: BaseException) -> bool:
    """Whether the connection is gone or could not be had, as far as SQLAlchemy and the system tell."""
    if isinstance(error, OSError | PoolTimeoutError):
        return True
    return isinstance(error, DBAPIError) and error.connection_invalidated


class Line(Protocol):
    """A connection over which the database tells what other processes announce."""

    async def wait_until_broken(self) -> None:
        """Wait until the connection is gone, as far as it shows by itself."""
        ...

    async def check(self) -> None:
        """Ask the other side for a sign of life; raises when none comes in time."""
        ...

    async def close(self) -> None:
        """Give the connection up. Never raises."""
        ...


class Dialect(ABC):
    """The differences between databases. One instance of each serves the process."""

    name: ClassVar[str]
    driver: ClassVar[str]
    """The driver used for URLs that name none."""
    extra: ClassVar[str | None] = None
    """The optional extra of the distribution that brings the driver."""
    has_one_writer: ClassVar[bool] = False
    """Whether a transaction that writes keeps all others from writing."""

    # -- connecting ---------------------------------------------------------------

    @abstractmethod
    def create_engine(self, url: URL, options: Mapping[str, Any]) -> AsyncEngine:
        """The engine for reads and for sessions of users; ``options`` are those of the pool."""

    def adopt_engine(self, engine: AsyncEngine) -> AsyncEngine:
        """The engine to use when a user brings one."""
        return engine

    @abstractmethod
    def create_committer(
        self, engine: AsyncEngine, gate: asyncio.Lock, *, stall_seconds: float = STALL_SECONDS
    ) -> Committer:
        """The one connection through which the writer commits.

        ``gate`` is shared with the sessions of users: where one transaction at a time
        can write, it is held for each. A transaction that stands still for
        ``stall_seconds``, with locks that others wait for, is ended by the server if it can,
        and waits no longer for the locks of others.
        """

    def lift_limits(self, connection: Connection) -> None:  # noqa: B027 - not everywhere are there limits
        """Let the transaction of the writer that begins here stand still and wait for locks."""

    def restore_limits(self, connection: Connection) -> None:  # noqa: B027 - as above
        """End what :meth:`lift_limits` began."""

    def create_read_engine(self, engine: AsyncEngine) -> AsyncEngine:
        """The engine for the reads of the library, which never wait for a transaction of a user.

        With a pool of its own: code that has a session open reads, too, and in a pool that such
        sessions have used up all of them would wait for each other.
        """
        return with_own_pool(engine)

    def create_session_engine(self, engine: AsyncEngine, gate: asyncio.Lock) -> AsyncEngine:
        """The engine for transactions of users; the given one, unless writers need another."""
        return engine

    @abstractmethod
    def lock_migration(self, connection: Connection) -> None:
        """Let one process at a time go on, until :meth:`unlock_migration` or the end of the transaction."""

    @abstractmethod
    def unlock_migration(self, connection: Connection) -> None:
        """Let the next one go on; nothing to do where the transaction holds the lock."""

    @abstractmethod
    def classify(self, error: BaseException) -> Failure:
        """What this error means, told by its code."""

    # -- telling other processes ---------------------------------------------------

    notifies: ClassVar[bool] = False
    """Whether a commit can tell other processes something."""

    def notify(self, connection: Connection, payload: str) -> None:
        """Tell those who listen to this database, if and when the transaction commits."""
        raise NotImplementedError(self.name)

    async def listen(self, engine: AsyncEngine, hear: Callable[[str], None]) -> Line:
        """Have each payload heard from now on, over a connection outside the pool of the engine."""
        raise NotImplementedError(self.name)

    # -- expressions --------------------------------------------------------------

    @abstractmethod
    def now(self) -> ColumnElement[Any]:
        """The time of the database; all due times and leases are compared with it."""

    @abstractmethod
    def after(self, seconds: ColumnElement[Any]) -> ColumnElement[Any]:
        """The time so many seconds from now; NULL after NULL."""

    @abstractmethod
    def until(self, moment: ColumnElement[Any]) -> ColumnElement[float]:
        """Seconds from now until this time, negative when it has passed; NULL until NULL."""

    def member(self, column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
        """Whether the column is among the values of the list parameter ``name``."""
        return column.in_(bindparam(name, expanding=True))

    @abstractmethod
    def read_by_index(self, query: Select[Any], table: Table, index: str) -> Select[Any]:
        """The query, held to this index where the planner might not take it by itself."""

    def among(self, column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
        """As :meth:`member`, for rows that are read in the order of an index and only filtered by this."""
        return self.member(column, name)

    # -- statements that take in rows ------------------------------------------------

    @abstractmethod
    def incoming(self, **columns: TypeEngine[Any]) -> Incoming:
        """The rows of a statement to be written, with these columns."""

    def insert(self, table: Table, values: Mapping[str, ColumnElement[Any]], *, incoming: Incoming) -> Insert:
        """Insert the incoming rows, numbered in the order sent."""
        query = select(*values.values())
        rows = query if incoming.source is None else query.select_from(incoming.source)
        return insert(table).from_select(list(values), rows)

    @abstractmethod
    def run(self, connection: Connection, statement: RowsStatement, rows: Sequence[Row]) -> int:
        """Execute for all rows and return how many rows of the table it took effect on."""

    @abstractmethod
    def ask(self, connection: Connection, query: RowsQuery, rows: Sequence[Row]) -> list[Any]:
        """What the query finds for all rows; the rows found say themselves what they belong to."""

    @abstractmethod
    def insert_absent(
        self,
        table: Table,
        values: Mapping[str, ColumnElement[Any]],
        *,
        incoming: Incoming,
        key: Sequence[str],
        guard: Guard | None = None,
    ) -> Insert:
        """Insert the incoming rows whose key is not there yet, and whose guard is."""

    @abstractmethod
    def insert_or_replace(
        self,
        table: Table,
        values: Mapping[str, ColumnElement[Any]],
        *,
        incoming: Incoming,
        key: Sequence[str],
        guard: Guard | None = None,
    ) -> Insert:
        """Insert the incoming rows whose guard is there, over those of the same key.

        Where rows are only replaced it is an update that is certain to read no others.
        """
