"""The storage of the library: one database, opened once, behind the ports of the engine."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from pydantic_core import to_json
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from edda.clock import monotonic
from edda.exceptions import LockNotAcquiredError, StorageError
from edda.ids import fraction
from edda.storage import batch, due, history, inspection, instances, migrations, waits
from edda.storage.appending import Appended, RowAppended
from edda.storage.committers import Committer
from edda.storage.connection import create_engine, describe, dialect_of, parse
from edda.storage.dialects.base import Attempt, Failure
from edda.storage.records import HistoryRecord, InstanceRecord, WaitRecord
from edda.storage.transactions import DatabaseTransaction, watch_for_trouble
from edda.storage.writer import GroupCommitWriter, reason
from edda.storage.writes import StepRecorded, Write
from edda.types import EventType, JSONObject, JSONValue

T = TypeVar("T")
A = TypeVar("A")
Read = Callable[[AsyncConnection], Awaitable[T]]

OPENING_SECONDS = 60.0
READ_SECONDS = 30.0
READ_ATTEMPTS = 3
RETRY_PAUSE = 0.05

logger = logging.getLogger(__name__)


class SQLAlchemyStorage:
    """Durable state in SQLite, PostgreSQL, MySQL or MariaDB.

    ``database`` is a URL (``sqlite:///file``, ``sqlite:///:memory:``, ``postgresql://``,
    ``mysql://``) or an :class:`~sqlalchemy.ext.asyncio.AsyncEngine`, which stays yours to
    dispose. ``pool_options`` (``pool_size``, ``max_overflow``, ``pool_timeout``,
    ``pool_recycle``, ``pool_pre_ping``) go to the pool of an engine made from a URL,
    except on SQLite. Raises ValueError for an unknown scheme, StorageError for a missing
    driver; nothing is connected before :meth:`open`.

    >>> import asyncio
    >>> async def main():
    ...     storage = SQLAlchemyStorage("sqlite:///:memory:")
    ...     await storage.open(migrate=True)
    ...     print(await storage.get_instance("unknown"))
    ...     await storage.close()
    >>> asyncio.run(main())
    None
    """

    def __init__(self, database: str | AsyncEngine, **pool_options: Any) -> None:
        if isinstance(database, str):
            url, self.dialect = parse(database)
            self.engine = create_engine(url, self.dialect, pool_options)
        else:
            self.dialect = dialect_of(database)
            self.engine = self.dialect.adopt_engine(database)
        self._is_own_engine = self.engine is not database
        self._writer: GroupCommitWriter | None = None
        self._sessions: AsyncEngine | None = None
        self.gate = asyncio.Lock()

    # -- life cycle -----------------------------------------------------------------

    async def open(self, *, migrate: bool) -> None:
        """Connect, bring the schema up to date or only check it, and start the writer.

        Raises StorageError, in one line, when the database cannot be reached or its
        schema does not fit. Harmless when the storage is open.
        """
        if self._writer is not None:
            return
        self.gate = asyncio.Lock()
        committer = self.dialect.create_committer(self.engine, self.gate)
        try:
            await self._prepare(committer, self._migrate if migrate else migrations.check)
        except BaseException:
            await committer.close()
            await self._dispose()
            raise
        self._writer = GroupCommitWriter(committer, self._apply, self.dialect.classify)
        self._writer.start()
        self._sessions = self.dialect.create_session_engine(self.engine, self.gate)
        watch_for_trouble(self._sessions)

    async def _prepare(self, committer: Committer, job: Callable[[Connection], None]) -> None:
        deadline = monotonic() + OPENING_SECONDS
        while True:
            try:
                return await committer.commit(job)
            except StorageError:
                raise
            except Exception as error:  # anything may be wrong with a database that is new to us
                conflict = self.dialect.classify(error) is Failure.CONFLICT
                if not conflict or monotonic() > deadline:
                    raise StorageError(f"Cannot open {describe(self.engine.url)}: {reason(error)}") from error
            # Others open it at this moment, and one of them has the lock.
            await asyncio.sleep(RETRY_PAUSE * (0.5 + fraction()))

    def _migrate(self, connection: Connection) -> None:
        if not migrations.is_current(connection):
            migrations.upgrade(connection, self.dialect)

    def _apply(self, connection: Connection, writes: Sequence[Write[Any]], attempt: Attempt) -> list[Any]:
        return batch.apply(connection, self.dialect, writes, attempt)

    async def close(self) -> None:
        """Finish the writes under way and release every connection. Harmless when repeated."""
        writer, self._writer = self._writer, None
        if writer is not None:
            await writer.close()
            await self._dispose()

    async def _dispose(self) -> None:
        sessions, self._sessions = self._sessions, None
        if sessions is not None and sessions is not self.engine:
            await sessions.dispose()
        if self._is_own_engine:
            await self.engine.dispose()

    # -- writes ---------------------------------------------------------------------

    async def submit(self, write: Write[A], *, within: float | None = None) -> A:
        """Commit the write together with those of others; return its own answer."""
        if self._writer is None:
            raise StorageError("The storage is not open")
        return await self._writer.submit(write, within=within)

    async def append_history(
        self, instance_id: str, activity_id: str, event_type: str, event_data: JSONValue
    ) -> None:
        """Add a row to the history of an instance that no worker is running.

        Raises :class:`~edda.exceptions.LockNotAcquiredError` while one is, ValueError for
        an unknown event type, and StorageError when there is no such instance or the step
        is recorded already.
        """
        row = RowAppended(instance_id, activity_id, EventType(event_type), to_json(event_data).decode())
        match await self.submit(row):
            case Appended.LEASED:
                raise LockNotAcquiredError(instance_id)
            case Appended.UNKNOWN_INSTANCE:
                raise StorageError(f"Unknown instance {instance_id}")
            case Appended.RECORDED_ALREADY:
                raise StorageError(f"Activity {activity_id} is already recorded for instance {instance_id}")

    def transaction(self) -> DatabaseTransaction:
        """A transaction for statements of the user, which begins with the first of them."""
        if self._sessions is None:
            raise StorageError("The storage is not open")
        return DatabaseTransaction(
            self._sessions, apply=self._apply, classify=self.dialect.classify, is_recorded=self._is_recorded
        )

    async def _is_recorded(self, step: StepRecorded) -> bool:
        records = await self.load_history(step.lease.instance_id)
        row = (step.activity_id, step.event_type, step.event_data)
        return any((record.activity_id, record.event_type, record.event_data) == row for record in records)

    # -- reads ----------------------------------------------------------------------

    async def load_instance(self, instance_id: str) -> InstanceRecord | None:
        """The instance, or None; without the source text of its workflow."""
        return await self._read(lambda connection: instances.load(connection, instance_id))

    async def load_history(self, instance_id: str) -> list[HistoryRecord]:
        """All recorded steps in the order of recording."""
        return await self._read(lambda connection: history.load(connection, instance_id))

    async def load_waits(self, instance_id: str) -> list[WaitRecord]:
        """All open waits, the first due one first."""
        return await self._read(lambda connection: waits.load(connection, self.dialect, instance_id))

    async def seconds_until_due(self, workflow_names: Sequence[str]) -> float | None:
        """Seconds until the first instance of these workflows is due (0: now), None: none is."""
        return await self._read(
            lambda connection: due.seconds_until_due(connection, self.dialect, workflow_names)
        )

    async def get_instance(self, instance_id: str) -> JSONObject | None:
        """The instance as ``find_instances`` shows it, or None."""
        record = await self._read(lambda connection: instances.load_shown(connection, instance_id))
        return None if record is None else inspection.instance(record)

    async def get_history(self, instance_id: str) -> list[JSONObject]:
        """The history in the order of recording."""
        return [inspection.step(record) for record in await self.load_history(instance_id)]

    async def _read(self, read: Read[T]) -> T:
        deadline = monotonic() + READ_SECONDS
        attempt = 0
        while True:
            attempt += 1
            try:
                async with asyncio.timeout(deadline - monotonic()), self.engine.connect() as connection:
                    return await read(connection)
            except Exception as error:  # a driver may raise anything; callers know StorageError
                last = attempt == READ_ATTEMPTS or monotonic() > deadline
                if last or self.dialect.classify(error) is Failure.REFUSED:
                    raise StorageError(f"The database could not be read: {reason(error)}") from error
            await asyncio.sleep(RETRY_PAUSE * attempt)
