"""The one connection of a process through which its writes are committed."""

from __future__ import annotations

import asyncio
import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

T = TypeVar("T")
Job = Callable[[Connection], T]

FAREWELL_SECONDS = 2.0

logger = logging.getLogger(__name__)

# A session that is open for longer may be waiting for the very write that waits for it.
GATE_SECONDS = 5.0
_GATE_BUSY = (
    "a transaction of this process keeps SQLite, which has one writer, to itself; "
    "an activity or block that has used ctx.session must not wait for other tasks that write"
)


class GateBusyError(Exception):
    """The writer had no turn: a user's transaction has been open for too long."""


class Committer(ABC):
    """Runs one function of a connection at a time, each in a transaction of its own."""

    @abstractmethod
    async def commit(self, job: Job[T], *, cut_after: float | None = None) -> T:
        """Connect if need be, run the job in a transaction, commit, and return its result.

        After ``cut_after`` seconds the connection is cut, so that the job ends with the
        error of a lost connection.
        """

    @abstractmethod
    async def reset(self) -> None:
        """Give the connection up; the next job gets a new one."""

    @abstractmethod
    async def close(self) -> None:
        """Give everything up. Harmless when repeated."""


class AsyncCommitter(Committer):
    """Commits over one connection made as those of an asynchronous engine are, but outside its pool.

    Whoever has a connection of the pool may be waiting for a commit: one that had to wait
    for a connection of the pool would wait for ever. ``prepare`` is run on a new connection,
    and says what is to be done at the beginning of each transaction over it.
    """

    def __init__(self, engine: AsyncEngine, prepare: Job[Job[None] | None]) -> None:
        self._engine = with_own_pool(engine)
        self._prepare = prepare
        self._begin: Job[None] | None = None
        self._connection: AsyncConnection | None = None

    async def commit(self, job: Job[T], *, cut_after: float | None = None) -> T:
        if self._connection is None:
            async with asyncio.timeout(cut_after):
                self._connection = await self._connect()
        connection = self._connection
        if cut_after is None:
            return await self._in_transaction(connection, job)
        # Cutting the line needs no answer of the other side, and cancelling would wait for one.
        watch = asyncio.get_running_loop().call_later(cut_after, _cut, connection)
        try:
            return await self._in_transaction(connection, job)
        finally:
            watch.cancel()

    async def _in_transaction(self, connection: AsyncConnection, job: Job[T]) -> T:
        async with connection.begin():
            if self._begin is not None:
                await connection.run_sync(self._begin)
            return await connection.run_sync(job)

    async def _connect(self) -> AsyncConnection:
        connection = await self._engine.connect()
        try:
            self._begin = await connection.run_sync(self._prepare)
        except BaseException:
            await _give_up(connection)
            raise
        return connection

    async def reset(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await _give_up(connection)

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            async with asyncio.timeout(FAREWELL_SECONDS):
                await connection.close()
        except Exception:  # noqa: BLE001 - the other side may be gone; all that is left is to end this one
            await _give_up(connection)


def with_own_pool(engine: AsyncEngine) -> AsyncEngine:
    """An engine that connects in the same way, with a pool of the same kind."""
    shared = engine.sync_engine
    options = dict(shared.get_execution_options())
    pool = shared.pool.recreate()
    return AsyncEngine(Engine(pool, shared.dialect, shared.url, execution_options=options))


async def dispose(engine: AsyncEngine) -> None:
    """Close the connections of its pool; from one that does not answer the farewell it is not waited for."""
    patience = FAREWELL_SECONDS
    while True:
        try:
            async with asyncio.timeout(patience):
                return await engine.dispose()
        except TimeoutError:  # the one that was asked is gone; the others will not answer either
            patience = FAREWELL_SECONDS / 100


async def _give_up(connection: AsyncConnection) -> None:
    _cut(connection)
    try:
        # What is invalid is let go without the farewell that nobody would hear.
        await connection.invalidate()
        await connection.close()
    except Exception:  # the line is cut already: whatever closing says changes nothing
        logger.debug("Closing the connection of the writer failed", exc_info=True)


def _cut(connection: AsyncConnection) -> None:
    driver = _driver_connection(connection)
    if driver is not None:
        getattr(driver, "terminate", driver.close)()


def _driver_connection(connection: AsyncConnection) -> Any:
    sync = connection.sync_connection
    if sync is None or sync.closed or sync.invalidated:
        return None
    # Taken out of the pool, a connection knows its driver only through the adapter.
    adapter: Any = sync.connection.dbapi_connection
    return None if adapter is None else adapter.driver_connection


class ThreadCommitter(Committer):
    """Commits in a thread of its own over a synchronous connection: one hop per transaction.

    ``gate`` is held meanwhile, so that the sessions of this process and the writer
    queue up without polling the lock of the file. ``keeper`` is a connection that is
    only held open: a database in memory lives as long as one of its connections.
    """

    def __init__(self, engine: Engine, gate: asyncio.Lock, *, keeper: Connection | None = None) -> None:
        self._engine = engine
        self._keeper = keeper
        self._gate = gate
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._connection: Connection | None = None

    async def commit(self, job: Job[T], *, cut_after: float | None = None) -> T:
        try:
            async with asyncio.timeout(GATE_SECONDS):
                await self._gate.acquire()
        except TimeoutError:
            raise GateBusyError(_GATE_BUSY) from None
        try:
            return await self._in_thread(lambda: self._transact(job))
        finally:
            self._gate.release()

    def _transact(self, job: Job[T]) -> T:
        if self._connection is None:
            self._connection = self._engine.connect()
        with self._connection.begin():
            return job(self._connection)

    async def reset(self) -> None:
        if self._thread is not None:
            await self._in_thread(self._disconnect)

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            connection.close()
        except Exception:  # given up because it is broken: whatever closing says changes nothing
            logger.debug("Closing the connection of the writer failed", exc_info=True)

    async def close(self) -> None:
        thread, self._thread = self._thread, None
        if thread is None:
            return
        await _Job.put(self._jobs, self._disconnect)
        self._jobs.put(None)
        thread.join()
        if self._keeper is not None:
            self._keeper.close()
        self._engine.dispose()

    async def _in_thread(self, call: Callable[[], T]) -> T:
        if self._thread is None:
            # A daemon, so that a process that forgot to close can still end.
            self._thread = threading.Thread(target=self._work, name="edda-writer", daemon=True)
            self._thread.start()
        return await _Job.put(self._jobs, call)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.perform()


class _Job:
    """A call on its way to the thread, and its result on the way back."""

    __slots__ = ("_call", "_future", "_loop")

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[Any] = self._loop.create_future()

    @classmethod
    async def put(cls, jobs: SimpleQueue[_Job | None], call: Callable[[], T]) -> T:
        job = cls(call)
        jobs.put(job)
        result: T = await job._future
        return result

    def perform(self) -> None:
        try:
            result, error = self._call(), None
        except BaseException as caught:  # noqa: BLE001 - it belongs to whoever waits for the job
            result, error = None, caught
        try:
            self._loop.call_soon_threadsafe(self._settle, result, error)
        except RuntimeError:  # the loop has closed, nobody waits any more
            logger.debug("A transaction ended after its event loop", exc_info=True)

    def _settle(self, result: Any, error: BaseException | None) -> None:
        if self._future.done():
            return
        if error is None:
            self._future.set_result(result)
        else:
            self._future.set_exception(error)
