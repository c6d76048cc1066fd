"""The storage of the library: one database, opened once, behind the ports of the engine."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic_core import to_json
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from edda.clock import monotonic
from edda.exceptions import StorageError, StorageUnavailableError
from edda.ids import fraction, new_key
from edda.searching import Place, Search
from edda.storage import (
    addressing,
    announcements,
    batch,
    dead_letters,
    due,
    history,
    inspection,
    instances,
    migrations,
    outbox,
    outbox_keys,
    shown,
    stored_runs,
    subscriptions,
    waiters,
    waits,
)
from edda.storage.appending import RowAppended, check_appended
from edda.storage.committers import Committer, dispose
from edda.storage.connection import create_engine, describe, dialect_of, parse
from edda.storage.dialects.base import STALL_SECONDS, Attempt, Dialect, Failure
from edda.storage.group_read import GroupRead
from edda.storage.listening import PROOF_SECONDS, Listening
from edda.storage.news import Companion, Listener, News
from edda.storage.records import HistoryRecord, InstanceRecord, StoredRun, Subscription, WaitRecord
from edda.storage.transactions import DatabaseTransaction, watch_for_trouble
from edda.storage.upkeep_writes import DeadLetterRequeued
from edda.storage.writer import GroupCommitWriter, reason
from edda.storage.writes import Announced, StepRecorded, Write
from edda.storage.writes_outbox import OutboxRequeued
from edda.types import EventType, JSONObject, JSONValue, OutboxStatus

__all__ = ["SQLAlchemyStorage"]

T = TypeVar("T")
A = TypeVar("A")
K = TypeVar("K")
Read = Callable[[AsyncConnection], Awaitable[T]]
Load = Callable[[AsyncConnection, Dialect, Sequence[K]], Awaitable[Mapping[K, T]]]

OPENING_SECONDS = 60.0
READ_SECONDS = 30.0
READ_ATTEMPTS = 3
ALERT_SECONDS = 1.0
RETRY_PAUSE = 0.05

logger = logging.getLogger(__name__)


class SQLAlchemyStorage:
    """Durable state in SQLite, PostgreSQL, MySQL or MariaDB.

    ``database`` is a URL (``sqlite:///file``, ``sqlite:///:memory:``, ``postgresql://``,
    ``mysql://``) or an :class:`~sqlalchemy.ext.asyncio.AsyncEngine`, which stays yours to
    dispose. ``pool_options`` (``pool_size``, ``max_overflow``, ``pool_timeout``,
    ``pool_recycle``, ``pool_pre_ping``) go to the pool of an engine made from a URL,
    except on SQLite. With ``notifications=False`` commits tell other processes nothing, also
    where the database could (PostgreSQL). A write that stands still for ``stall_seconds``
    is given up, with its locks, and made again. Raises ValueError for an unknown scheme,
    StorageError for a missing driver; nothing is connected before :meth:`open`.

    >>> import asyncio
    >>> async def main():
    ...     storage = SQLAlchemyStorage("sqlite:///:memory:")
    ...     await storage.open(migrate=True)
    ...     print(await storage.get_instance("unknown"))
    ...     await storage.close()
    >>> asyncio.run(main())
    None
    """

    def __init__(
        self,
        database: str | AsyncEngine,
        *,
        notifications: bool = True,
        stall_seconds: float = STALL_SECONDS,
        **pool_options: Any,
    ) -> None:
        if isinstance(database, str):
            url, self.dialect = parse(database)
            self.engine = create_engine(url, self.dialect, pool_options)
        else:
            self.dialect = dialect_of(database)
            self.engine = self.dialect.adopt_engine(database)
        self._is_own_engine = self.engine is not database
        self._writer: GroupCommitWriter | None = None
        self._sessions: AsyncEngine | None = None
        self._reads: AsyncEngine | None = None
        self._listener: Listener | None = None
        self._companion: Companion | None = None
        self._notifies = notifications and self.dialect.notifies
        self._stall_seconds = stall_seconds
        self._name = new_key()[:16]
        self._others: Listening | None = None
        self.gate = asyncio.Lock()
        self._histories = self._group_read(history.load)
        self._waits = self._group_read(waits.load)
        self._subscriptions = self._group_read(subscriptions.load)
        self._runs = self._group_read(stored_runs.load)

    def _group_read(self, load: Load[K, T]) -> GroupRead[K, T]:
        return GroupRead(lambda keys: self._read(lambda connection: load(connection, self.dialect, keys)))

    # -- life cycle -----------------------------------------------------------------

    async def open(self, *, migrate: bool) -> None:
        """Connect, bring the schema up to date or only check it, and start the writer.

        Raises StorageError, in one line, when the database cannot be reached or its
        schema does not fit. Harmless when the storage is open.
        """
        if self._writer is not None:
            return
        self.gate = asyncio.Lock()
        committer = self.dialect.create_committer(self.engine, self.gate, stall_seconds=self._stall_seconds)
        try:
            await self._prepare(committer, self._migrate if migrate else migrations.check)
        except BaseException:
            await committer.close()
            await self._dispose()
            raise
        self._writer = GroupCommitWriter(committer, self._apply, self.dialect.classify, self._tell)
        self._writer.start()
        self._reads = self.dialect.create_read_engine(self.engine)
        self._sessions = self.dialect.create_session_engine(self.engine, self.gate)
        watch_for_trouble(self._sessions)

    async def _prepare(self, committer: Committer, job: Callable[[Connection], None]) -> None:
        deadline = monotonic() + OPENING_SECONDS
        while True:
            try:
                return await committer.commit(lambda connection: self._unhurried(connection, job))
            except StorageError:
                raise
            except Exception as error:  # anything may be wrong with a database that is new to us
                failure = self.dialect.classify(error)
                if failure is not Failure.CONFLICT or monotonic() > deadline:
                    text = f"Cannot open {describe(self.engine.url)}: {reason(error)}"
                    raise _error_for(failure)(text) from error
            # Others open it at this moment, and one of them has the lock.
            await asyncio.sleep(RETRY_PAUSE * (0.5 + fraction()))

    def _unhurried(self, connection: Connection, job: Callable[[Connection], None]) -> None:
        # Migrating takes its time, and so does waiting for somebody else who migrates.
        self.dialect.lift_limits(connection)
        job(connection)
        self.dialect.restore_limits(connection)

    def _migrate(self, connection: Connection) -> None:
        if not migrations.is_current(connection):
            migrations.upgrade(connection, self.dialect)

    def _apply(self, connection: Connection, writes: Sequence[Write[Any]], attempt: Attempt) -> batch.Applied:
        applied = batch.apply(connection, self.dialect, writes, attempt)
        if self._notifies and applied.news:
            self.dialect.notify(connection, announcements.encode(self._name, applied.news))
        return applied

    async def close(self) -> None:
        """Finish the writes under way and release every connection. Harmless when repeated."""
        others, self._others = self._others, None
        if others is not None:
            await others.close()
        writer, self._writer = self._writer, None
        if writer is not None:
            await writer.close()
            await self._dispose()

    async def _dispose(self) -> None:
        engines, self._sessions, self._reads = (self._sessions, self._reads), None, None
        for engine in engines:
            if engine is not None and engine is not self.engine:
                await dispose(engine)
        if self._is_own_engine:
            await dispose(self.engine)

    # -- writes ---------------------------------------------------------------------

    async def submit(self, write: Write[A], *, within: float | None = None) -> A:
        """Commit the write together with those of others; return its own answer."""
        if self._writer is None:
            raise StorageUnavailableError("The storage is not open: initialize its app first")
        if self._companion is not None:
            self._companion(write)
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
        check_appended(row, await self.submit(row))

    def listen(self, listener: Listener | None) -> None:
        """Have this function called after each commit that made something known; None: nobody."""
        self._listener = listener

    def accompany(self, companion: Companion | None) -> None:
        """Have this function called with each write, just before it is submitted; None: nobody."""
        self._companion = companion

    def listen_to_others(self) -> None:
        """Have that function hear of the commits of other processes as well, until :meth:`close`.

        Only where the database can tell, and while it does (:attr:`hears_others`).
        """
        if self._notifies and self._others is None:
            self._others = Listening(
                lambda hear: self.dialect.listen(self.engine, hear),
                announce=lambda payload: self.submit(Announced(payload), within=PROOF_SECONDS),
                sender=self._name,
                tell=self._tell,
            )
            self._others.start()

    async def alert_others(self) -> None:
        """Have other processes look at everything there is, where the database can tell them."""
        if self._notifies:
            payload = announcements.encode(self._name, News.of_everything())
            await self.submit(Announced(payload), within=ALERT_SECONDS)

    @property
    def hears_others(self) -> bool:
        """Whether the commits of other processes are heard at this moment."""
        return self._others is not None and self._others.works

    def _tell(self, news: News) -> None:
        if news and self._listener is not None:
            self._listener(news)

    async def requeue_outbox_event(self, event_id: str) -> bool:
        """Have an event sent that was given up, with new attempts; False if there is no such event.

        It keeps its id and its time, so one that has expired expires again unless the
        relayer now allows for its age.
        """
        return await self.submit(OutboxRequeued(event_id))

    async def requeue_dead_letter(self, instance_id: str) -> bool:
        """Have the ``on_event`` handlers of an event that gave up run again, with new attempts.

        Those that succeeded are not run again. False if there is no such event.
        """
        return await self.submit(DeadLetterRequeued(instance_id))

    def transaction(self) -> DatabaseTransaction:
        """A transaction for statements of the user, which begins with the first of them."""
        if self._sessions is None:
            raise StorageUnavailableError("The storage is not open: initialize its app first")
        return DatabaseTransaction(
            self._sessions,
            apply=self._apply,
            classify=self.dialect.classify,
            is_recorded=self._is_recorded,
            tell=self._tell,
            is_alone=self.dialect.has_one_writer,
        )

    async def _is_recorded(self, step: StepRecorded) -> bool:
        records = await self.load_history(step.lease.instance_id)
        row = (step.activity_id, step.event_type, step.event_data)
        return any((record.activity_id, record.event_type, record.event_data) == row for record in records)

    # -- reads ----------------------------------------------------------------------

    async def load_instance(self, instance_id: str) -> InstanceRecord | None:
        """The instance, or None; without the source text of its workflow."""
        return await self._read(lambda connection: instances.load(connection, instance_id))

    async def load_run(self, instance_id: str, chain: str) -> StoredRun:
        """All that is stored of a run of this instance, which belongs to this chain of recurs."""
        return await self._runs.get((instance_id, chain))

    async def load_history(self, instance_id: str) -> list[HistoryRecord]:
        """All recorded steps in the order of recording."""
        return await self._histories.get(instance_id)

    async def load_waits(self, instance_id: str) -> list[WaitRecord]:
        """All open waits, the first due one first."""
        return await self._waits.get(instance_id)

    async def load_subscriptions(self, subscriber: str) -> list[Subscription]:
        """All subscriptions of a chain of recurs."""
        return await self._subscriptions.get(subscriber)

    async def is_waiting(self, instance_id: str, channel: str, *, direct: bool = False) -> bool:
        """Whether the live instance of this chain waits for a message on the channel.

        ``direct``: on the channel ``{channel}:{id}`` that is its own.
        """

        def read(connection: Connection) -> bool:
            queue = addressing.queue_of(connection, self.dialect, instance_id, channel, direct=direct)
            return bool(waiters.of_targets(connection, self.dialect, {queue}))

        return await self._read(lambda connection: connection.run_sync(read))

    async def seconds_until_due(self, workflow_names: Sequence[str]) -> float | None:
        """Seconds until the first instance of these workflows is due (0: now), None: none is."""
        return await self._read(
            lambda connection: due.seconds_until_due(connection, self.dialect, workflow_names)
        )

    async def seconds_until_outbox_due(self) -> float | None:
        """Seconds until a relayer has something to do (0: now), None: no event is open."""
        return await self._read(lambda connection: outbox_keys.seconds_until_due(connection, self.dialect))

    async def get_instance(self, instance_id: str) -> JSONObject | None:
        """The instance as ``find_instances`` shows it, or None."""
        record = await self._read(lambda connection: shown.load(connection, instance_id))
        return None if record is None else inspection.instance(record)

    async def find_instances(self, search: Search) -> dict[str, Any]:
        """A page of the instances that match, as ``EddaApp.find_instances`` returns it."""
        records, more = await self._read(lambda connection: shown.find(connection, self.dialect, search))
        last = records[-1] if records and more else None
        return {
            "instances": [inspection.instance(record) for record in records],
            "next_page_token": None if last is None else Place(last.started_at, last.instance_id).token,
            "has_more": more,
        }

    async def get_history(self, instance_id: str) -> list[JSONObject]:
        """The history in the order of recording; empty for an instance that recurred."""
        return [inspection.step(record) for record in await self.load_history(instance_id)]

    async def get_archived_history(self, instance_id: str) -> list[JSONObject]:
        """The history of an instance that recurred, in the order of recording."""
        records = await self._read(lambda connection: history.load_archived(connection, instance_id))
        return [inspection.step(record) for record in records]

    async def get_pending_outbox_events(self, limit: int = 10) -> list[dict[str, Any]]:
        """The events that wait to be sent, the oldest first; looking at them changes nothing."""
        return await self.get_outbox_events(OutboxStatus.PENDING, limit)

    async def get_outbox_events(self, status: str, limit: int = 10) -> list[dict[str, Any]]:
        """The events of this status, the oldest first.

        Those given up are ``failed``, ``invalid`` and ``expired``; ValueError for an unknown status.
        """
        wanted = OutboxStatus(status)
        records = await self._read(
            lambda connection: outbox.load(connection, self.dialect, wanted, limit=limit)
        )
        return [inspection.outbox_event(record) for record in records]

    async def get_dead_letters(self, limit: int = 10) -> list[JSONObject]:
        """The accepted events whose ``on_event`` handlers gave up, the oldest first, of all services.

        Dicts with ``instance_id``, ``owner_service``, ``event`` (in structured form), ``error``,
        ``failed_handlers`` (what is recorded of each) and ``failed_at``.
        """
        records = await self._read(
            lambda connection: dead_letters.load(connection, self.dialect, limit=limit)
        )
        return [inspection.dead_letter(record) for record in records]

    async def _read(self, read: Read[T]) -> T:
        deadline = monotonic() + READ_SECONDS
        attempt = 0
        while True:
            attempt += 1
            try:
                reads = self._reads or self.engine
                async with asyncio.timeout(deadline - monotonic()), reads.connect() as connection:
                    return await read(connection)
            except Exception as error:  # a driver may raise anything; callers know StorageError
                last = attempt == READ_ATTEMPTS or monotonic() > deadline
                failure = self.dialect.classify(error)
                if last or failure is Failure.REFUSED:
                    raise _error_for(failure)(f"The database could not be read: {reason(error)}") from error
            await asyncio.sleep(RETRY_PAUSE * attempt)


def _error_for(failure: Failure) -> type[StorageError]:
    return StorageUnavailableError if failure is Failure.UNREACHABLE else StorageError
