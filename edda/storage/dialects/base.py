"""What one database does in its own way; everything else is written once.

A statement that takes in rows is written against an :class:`Incoming`: its columns
stand for the rows sent along. The text of such a statement is the same for one row
and for five hundred, so that it is built, compiled and prepared once.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Any, ClassVar

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
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.types import TypeEngine

from edda.storage.columns import UTCDateTime
from edda.storage.committers import Committer

Row = tuple[Any, ...]


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


class Dialect(ABC):
    """The differences between databases. One instance of each serves the process."""

    name: ClassVar[str]
    driver: ClassVar[str]
    """The driver used for URLs that name none."""
    extra: ClassVar[str | None] = None
    """The optional extra of the distribution that brings the driver."""

    # -- connecting ---------------------------------------------------------------

    @abstractmethod
    def create_engine(self, url: URL, options: Mapping[str, Any]) -> AsyncEngine:
        """The engine for reads and for sessions of users; ``options`` are those of the pool."""

    def adopt_engine(self, engine: AsyncEngine) -> AsyncEngine:
        """The engine to use when a user brings one."""
        return engine

    @abstractmethod
    def create_committer(self, engine: AsyncEngine, gate: asyncio.Lock) -> Committer:
        """The one connection through which the writer commits.

        ``gate`` is shared with the sessions of users: where one transaction at a time
        can write, it is held for each.
        """

    def create_session_engine(self, engine: AsyncEngine, gate: asyncio.Lock) -> AsyncEngine:
        """The engine for transactions of users; the one for reads, unless writers need another."""
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

    @abstractmethod
    def run(self, connection: Connection, statement: RowsStatement, rows: Sequence[Row]) -> int:
        """Execute for all rows and return how many rows of the table it took effect on."""

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
        guard: Guard,
    ) -> Insert:
        """Insert the incoming rows whose guard is there, over those of the same key."""
