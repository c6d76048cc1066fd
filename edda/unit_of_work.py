"""What one attempt of an activity, or one transaction block, records together.

A unit collects the writes of the library, the compensations registered in it and the
callbacks of the user. Only when the user asks for the session does a real transaction
begin; then the writes are executed through it, and everything commits or vanishes
together. A unit inside another one is a savepoint.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, TypeVar, cast

from edda.registrations import Change
from edda.storage.protocol import AsyncSession, SavepointPort, TransactionPort, TransactionsPort
from edda.storage.writes import Write
from edda.variables import Setting

A = TypeVar("A")

logger = logging.getLogger(__name__)

Callback = Callable[[], Awaitable[object]]


class _Shared:
    """The transaction that an outermost unit and those inside it have in common."""

    def __init__(self, storage: TransactionsPort) -> None:
        self.storage = storage
        self.transaction: TransactionPort | None = None

    def ensure(self) -> TransactionPort:
        if self.transaction is None:
            self.transaction = self.storage.transaction()
        return self.transaction


class UnitOfWork:
    """The writes, callbacks and, if asked for, the session of one task at work."""

    def __init__(self, storage: TransactionsPort, parent: UnitOfWork | None = None) -> None:
        self._parent = parent
        self.shared: _Shared = _Shared(storage) if parent is None else parent.shared
        self._savepoint: SavepointPort | None = None
        self._worker = _current_worker()
        self.writes: list[Write[Any]] = []
        self.callbacks: list[Callback] = []
        self.changes: list[Change] = []
        self._unwritten: list[Change] = []
        self.entered: dict[str, str] = {} if parent is None else parent.entered
        """Steps whose outcome the body has seen, and which it saw before."""
        self.is_replayed: bool = parent is not None and parent.is_replayed
        """Whether it has ended in an earlier run, and what happens in it is to be undone."""

    @property
    def parent(self) -> UnitOfWork | None:
        """The unit in which this one is a savepoint."""
        return self._parent

    @property
    def session(self) -> AsyncSession:
        """The session of the transaction; the first statement through it begins it."""
        return self.shared.ensure().session

    @property
    def is_savepoint(self) -> bool:
        """Whether the transaction had begun before this unit did."""
        return self._savepoint is not None

    @property
    def began(self) -> bool:
        """Whether a real transaction is open."""
        transaction = self.shared.transaction
        return transaction is not None and transaction.began

    def current(self) -> Setting[UnitOfWork | None]:
        """A block in which the calling task works in this unit; tasks that it creates do not."""
        return Setting(_current, self)

    def move_to_this_thread(self) -> None:
        """Sync code goes on with the unit in the calling thread."""
        self._worker = _current_worker()

    def is_of(self, storage: object) -> bool:
        """Whether its transaction is one of this storage."""
        return self.shared.storage is storage

    def belongs_here(self) -> bool:
        """Whether the calling task, or thread, is the one that works in this unit."""
        return self._worker == _current_worker()

    def register(self, change: Change) -> None:
        """Have the row of the activity say this, too."""
        self._unwritten.append(change)

    def take_registered(self) -> list[Change]:
        """What the row of the activity has to say; told once."""
        taken = list(self._unwritten)
        self._unwritten.clear()
        return taken

    def uncommitted_changes(self) -> list[Change]:
        """What was registered or cleared in this unit and those around it."""
        outer = [] if self._parent is None else self._parent.uncommitted_changes()
        return [*outer, *self.changes, *self._unwritten]

    async def enter(self) -> None:
        """Set a savepoint if there is a transaction that it could protect."""
        if self._parent is not None and self.began:
            self._savepoint = await self.shared.ensure().savepoint()

    async def merge(self) -> None:
        """End the savepoint well: what was collected belongs to the enclosing unit."""
        if self._savepoint is not None:
            await self._savepoint.commit()
        if self._parent is not None:
            self._parent.writes.extend(self.writes)
            self._parent.callbacks.extend(self.callbacks)
            self._parent.changes.extend(self.changes)
            self._parent._unwritten.extend(self._unwritten)  # noqa: SLF001 - of the same class

    async def discard(self) -> None:
        """Undo everything since :meth:`enter`."""
        self.writes.clear()
        self.callbacks.clear()
        self.changes.clear()
        self._unwritten.clear()
        transaction = self.shared.transaction
        if self._savepoint is not None:
            await self._savepoint.rollback()
            self._savepoint = None
        elif transaction is not None:  # whatever it did began inside this unit
            await transaction.rollback()

    async def commit(self, write: Write[A]) -> A:
        """Commit the outermost unit through its real transaction; returns the answer of the write.

        See :meth:`edda.storage.protocol.TransactionPort.commit` for what it raises.
        """
        (answer,) = await self.shared.ensure().commit([write])
        return cast("A", answer)

    @property
    def commits_alone(self) -> bool:
        """Whether nothing else of this process is written until its transaction ends."""
        return self.shared.ensure().is_alone

    async def run_callbacks(self) -> None:
        """Call what was registered to follow the commit, in order; errors are logged."""
        for callback in self.callbacks:
            try:
                await callback()
            except Exception:  # the commit has happened: the others are owed their call all the same
                logger.exception("A post-commit callback failed")
        self.callbacks.clear()

    def is_trouble(self, error: BaseException) -> bool:
        """Whether an error of user code is trouble of the database under its session."""
        transaction = self.shared.transaction
        return transaction is not None and transaction.is_trouble(error)


_current: ContextVar[UnitOfWork | None] = ContextVar("edda_unit_of_work", default=None)


def current_unit() -> UnitOfWork | None:
    """The unit in which the calling task works.

    The context variable is inherited by child tasks, the unit is not: a session is not
    to be shared by tasks that run at the same time.
    """
    unit = _current.get()
    return unit if unit is not None and unit.belongs_here() else None


def _current_worker() -> object:
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no event loop: a thread that runs sync code
        task = None
    return task or threading.get_ident()
