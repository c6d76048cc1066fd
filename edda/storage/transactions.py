"""A real transaction: statements of the user, and writes of the library, in one commit.

It begins with the first statement, not before, so that code which never touches the
database holds no connection and no lock.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, AsyncSessionTransaction

from edda.exceptions import TransactionLostError
from edda.storage.dialects.base import Attempt, ContentionError, Failure
from edda.storage.writer import reason
from edda.storage.writes import AlreadyRecorded, StepRecorded, Verdict, Write

T = TypeVar("T")
Apply = Callable[[Connection, Sequence[Write[Any]], Attempt], Sequence[Any]]
IsRecorded = Callable[[StepRecorded], Awaitable[bool]]

logger = logging.getLogger(__name__)


class DatabaseTransaction:
    """One transaction with the session through which the user's statements go.

    ``is_recorded`` finds out, on another connection, whether a step is in the history:
    so a commit whose answer was lost is told from one that did not happen.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        apply: Apply,
        classify: Callable[[BaseException], Failure],
        is_recorded: IsRecorded,
    ) -> None:
        self.session = AsyncSession(engine, expire_on_commit=False)
        self._apply = apply
        self._classify = classify
        self._is_recorded = is_recorded

    @property
    def began(self) -> bool:
        """Whether anything went through the session since the last commit or rollback."""
        return self.session.in_transaction()

    async def savepoint(self) -> AsyncSessionTransaction:
        """Set a savepoint; its ``commit`` and ``rollback`` end it."""
        return await self.session.begin_nested()

    async def commit(self, writes: Sequence[Write[Any]]) -> Sequence[Any]:
        """Execute the writes and commit them with the user's statements; returns their answers.

        If a write is refused (lease lost, step recorded otherwise) everything is rolled
        back. Raises :class:`~edda.exceptions.TransactionLostError` when the database was
        in trouble and nothing was stored, and the database's own error when it refuses
        the user's rows.
        """
        try:
            answers = await self._flush(writes)
        except Exception as error:
            await self.rollback()
            raise self._translated(error) from error
        if any(_is_refused(answer) for answer in answers):
            await self.rollback()
            return answers
        try:
            await self.session.commit()
        except Exception as error:  # noqa: BLE001 - a driver may raise anything; what it means is found out
            await self.rollback()
            return await self._after_failed_commit(error, writes, answers)
        await self.session.close()
        return answers

    async def _flush(self, writes: Sequence[Write[Any]]) -> Sequence[Any]:
        await self.session.flush()
        connection = await self.session.connection()
        return await connection.run_sync(self._apply, writes, Attempt.REPEATED)

    async def _after_failed_commit(
        self, error: Exception, writes: Sequence[Write[Any]], answers: Sequence[Any]
    ) -> Sequence[Any]:
        steps = [write for write in writes if isinstance(write, StepRecorded)]
        if self._classify(error) is Failure.UNREACHABLE and steps and await self._is_recorded(steps[0]):
            return answers  # it was committed, only the answer was lost
        raise self._translated(error) from error

    def _translated(self, error: Exception) -> Exception:
        if not self.is_trouble(error):
            return error
        return TransactionLostError(f"The transaction was lost: {reason(error)}")

    def is_trouble(self, error: BaseException) -> bool:
        """Whether an error that came out of the user's statements is trouble of this database."""
        if isinstance(
            error, IntegrityError
        ):  # a user's row that cannot be, also where the writer would look again
            return False
        known = isinstance(error, SQLAlchemyError | OSError | ContentionError)
        return known and self._classify(error) is not Failure.REFUSED

    async def rollback(self) -> None:
        """Undo everything since the beginning; the next statement begins anew."""
        try:
            await self.session.close()
        except Exception:  # the connection is broken: the database has rolled back or will
            logger.debug("Rolling back failed", exc_info=True)


def _is_refused(answer: object) -> bool:
    return answer is Verdict.LEASE_LOST or isinstance(answer, AlreadyRecorded)
