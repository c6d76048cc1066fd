"""A real transaction: statements of the user, and writes of the library, in one commit.

It begins with the first statement, not before, so that code which never touches the
database holds no connection and no lock.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from traceback import walk_tb
from typing import Any

from sqlalchemy import Connection, ExceptionContext, event
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, AsyncSessionTransaction

from edda.exceptions import TransactionLostError
from edda.storage.batch import Applied
from edda.storage.dialects.base import Attempt, ContentionError, Failure
from edda.storage.news import Listener
from edda.storage.writer import reason
from edda.storage.writes import AlreadyRecorded, StepRecorded, Verdict, Write

Apply = Callable[[Connection, Sequence[Write[Any]], Attempt], Applied]
IsRecorded = Callable[[StepRecorded], Awaitable[bool]]

_OWNER = "edda_transaction"

logger = logging.getLogger(__name__)


def watch_for_trouble(engine: AsyncEngine) -> None:
    """Have the transactions over this engine learn of trouble, whoever swallows the error."""
    if not event.contains(engine.sync_engine, "handle_error", _tell_owner):
        event.listen(engine.sync_engine, "handle_error", _tell_owner)


def _tell_owner(context: ExceptionContext) -> None:
    owner = None if context.connection is None else context.connection.info.get(_OWNER)
    if owner is not None:
        owner.note_error(context)


class DatabaseTransaction:
    """One transaction with the session through which the user's statements go.

    ``is_recorded`` finds out, on another connection, whether a step is in the history:
    so a commit whose answer was lost is told from one that did not happen. ``tell``
    hears what the commit made known. ``is_alone``: the database has one writer.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        apply: Apply,
        classify: Callable[[BaseException], Failure],
        is_recorded: IsRecorded,
        tell: Listener,
        is_alone: bool,
    ) -> None:
        self.session = AsyncSession(engine, expire_on_commit=False)
        self._apply = apply
        self._classify = classify
        self._is_recorded = is_recorded
        self._tell = tell
        self._is_alone = is_alone
        self._connection: Connection | None = None
        self._trouble: BaseException | None = None
        event.listen(self.session.sync_session, "after_begin", self._note_connection)

    def _note_connection(self, _session: object, _transaction: object, connection: Connection) -> None:
        self._connection = connection
        connection.info[_OWNER] = self

    def note_error(self, context: ExceptionContext) -> None:
        """Remember trouble: parts of the transaction may be gone, also if the user goes on with it."""
        error = context.sqlalchemy_exception or context.original_exception
        if context.connection is self._connection and isinstance(error, Exception) and self.is_trouble(error):
            self._trouble = error

    @property
    def is_alone(self) -> bool:
        """Whether nothing else of this process is written while it is open."""
        return self._is_alone

    @property
    def is_lost(self) -> bool:
        """Whether the database was in trouble since the transaction began."""
        return self._trouble is not None

    @property
    def began(self) -> bool:
        """Whether anything went through the session since the last commit or rollback."""
        return self.session.in_transaction()

    async def savepoint(self) -> Savepoint:
        """Set a savepoint; its ``commit`` and ``rollback`` end it."""
        return Savepoint(self, await self.session.begin_nested())

    async def commit(self, writes: Sequence[Write[Any]]) -> Sequence[Any]:
        """Execute the writes and commit them with the user's statements; returns their answers.

        If a write is refused (lease lost, step recorded otherwise) everything is rolled
        back. Raises :class:`~edda.exceptions.TransactionLostError` when the database was
        in trouble and nothing was stored, and the database's own error when it refuses
        the user's rows.
        """
        try:
            applied = await self._flush(writes)
        except Exception as error:
            lost = self._lost_by(error)
            await self.rollback()
            if lost is None:
                raise
            raise lost from error
        if any(_is_refused(answer) for answer in applied.answers):
            await self.rollback()
            return applied.answers
        try:
            await self.session.commit()
        except Exception as error:  # noqa: BLE001 - a driver may raise anything; what it means is found out
            await self._after_failed_commit(error, writes)
        await self.rollback()
        self._tell(applied.news)
        return applied.answers

    async def _flush(self, writes: Sequence[Write[Any]]) -> Applied:
        if self._trouble is not None:
            raise self._trouble
        await self.session.flush()
        connection = await self.session.connection()
        return await connection.run_sync(self._apply, writes, Attempt.SEPARATE)

    async def _after_failed_commit(self, error: Exception, writes: Sequence[Write[Any]]) -> None:
        lost = self._lost_by(error)
        await self.rollback()
        steps = [write for write in writes if isinstance(write, StepRecorded)]
        if self._classify(error) is Failure.UNREACHABLE and steps and await self._is_recorded(steps[0]):
            return  # it was committed, only the answer was lost
        if lost is None:
            raise error
        raise lost from error

    def _lost_by(self, error: Exception) -> TransactionLostError | None:
        if not self.is_trouble(error):
            return None
        return TransactionLostError(f"The transaction was lost: {reason(error)}")

    def is_trouble(self, error: BaseException) -> bool:
        """Whether an error that came out of the user's statements is trouble of this database."""
        if self._trouble is not None:
            return True
        if isinstance(error, IntegrityError):  # a row that cannot be, also where the writer would look again
            return False
        if isinstance(error, OSError):  # most of them have nothing to do with the database
            return _came_from_the_driver(error)
        known = isinstance(error, SQLAlchemyError | ContentionError)
        return known and self._classify(error) is not Failure.REFUSED

    async def rollback(self) -> None:
        """Undo everything since the beginning; the next statement begins anew."""
        try:
            await _uninterrupted(self._close())
        except Exception:  # the connection is broken: the database has rolled back or will
            logger.debug("Rolling back failed", exc_info=True)
        finally:
            self._connection = self._trouble = None

    async def _close(self) -> None:
        if self._trouble is not None:
            # Its savepoints may be gone, and one that cannot be rolled back would keep the connection.
            await self.session.run_sync(self._give_connection_up)
        await self.session.close()

    def _give_connection_up(self, _session: object) -> None:
        connection = self._connection
        if connection is not None and not connection.closed and not connection.invalidated:
            connection.invalidate()


class Savepoint:
    """A savepoint, which may be gone together with its transaction."""

    def __init__(self, owner: DatabaseTransaction, nested: AsyncSessionTransaction) -> None:
        self._owner = owner
        self._nested = nested

    async def commit(self) -> None:
        """Keep what happened since."""
        await self._nested.commit()

    async def rollback(self) -> None:
        """Undo what happened since; in a lost transaction there is nothing left to undo."""
        if self._owner.is_lost:
            return
        await _uninterrupted(self._nested.rollback())


async def _uninterrupted(ending: Coroutine[Any, Any, None]) -> None:
    # Half an end of a transaction would keep its connection, and on SQLite the way to the file.
    task = asyncio.ensure_future(ending)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


def _came_from_the_driver(error: BaseException) -> bool:
    frames = (frame for frame, _ in walk_tb(error.__traceback__))
    return any(frame.f_globals.get("__name__", "").startswith("sqlalchemy.") for frame in frames)


def _is_refused(answer: object) -> bool:
    return answer is Verdict.LEASE_LOST or isinstance(answer, AlreadyRecorded)
