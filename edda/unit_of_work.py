"""What one attempt of an activity, or one transaction block, records together.

A unit collects the writes of the library and the callbacks of the user. Only when the
user asks for the session does a real transaction begin; then the writes are executed
through it, and everything commits or vanishes together. A unit inside another one is a
savepoint.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from edda.storage.protocol import AsyncSession, SavepointPort, TransactionPort, TransactionsPort
from edda.storage.writes import Write

logger = logging.getLogger(__name__)

Callback = Callable[[], Awaitable[object]]


class _Shared:
    """The transaction that an outermost unit and those inside it have in common."""

    def __init__(self, storage: TransactionsPort) -> None:
        self._storage = storage
        self.transaction: TransactionPort | None = None

    def ensure(self) -> TransactionPort:
        if self.transaction is None:
            self.transaction = self._storage.transaction()
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

    @contextmanager
    def current(self) -> Iterator[None]:
        """The calling task works in this unit; tasks that it creates do not."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    def move_to_this_thread(self) -> None:
        """Sync code goes on with the unit in the calling thread."""
        self._worker = _current_worker()

    def belongs_here(self) -> bool:
        """Whether the calling task, or thread, is the one that works in this unit."""
        return self._worker == _current_worker()

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

    async def discard(self) -> None:
        """Undo everything since :meth:`enter`."""
        self.writes.clear()
        self.callbacks.clear()
        transaction = self.shared.transaction
        if self._savepoint is not None:
            await self._savepoint.rollback()
            self._savepoint = None
        elif transaction is not None:  # whatever it did began inside this unit
            await transaction.rollback()

    async def commit(self, first: Write[Any] | None = None) -> Sequence[Any]:
        """Commit the outermost unit through a real transaction; returns the answers of the writes.

        See :meth:`edda.storage.protocol.TransactionPort.commit` for what it raises.
        """
        return await self.shared.ensure().commit([*([] if first is None else [first]), *self.writes])

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
