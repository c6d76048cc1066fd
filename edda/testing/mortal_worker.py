"""A worker in an event loop of its own, which dies or stands still at a chosen commit.

What has died is as good as killed: its loop does not turn any more, its storage refuses
everything, its effects do not happen, and its connections are cut. Only then are its tasks
cancelled, so that the process that runs the tests keeps nothing of it.
"""

from __future__ import annotations

import asyncio
import functools
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from enum import Enum
from typing import Any

import aiosqlite
from sqlalchemy import Engine, event
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util import await_only, greenlet_spawn
from sqlalchemy.util.concurrency import in_greenlet

from edda.app import EddaApp
from edda.clock import monotonic
from edda.storage.dialects.base import Attempt
from edda.storage.message_writes import ChannelsPurged, MessagesPurged
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.upkeep_writes import InstancesPurged, LeadershipClaimed, LeadershipResigned
from edda.storage.writes import Announced, InboxPurged, LeasesRenewed, StepRecorded, Write
from edda.storage.writes_outbox import OutboxPurged
from edda.workflow import withdraw_engine

Play = Callable[[EddaApp], Awaitable[None]]

# What comes at any time and is of no instance.
_HOUSEKEEPING = (
    Announced,
    ChannelsPurged,
    InboxPurged,
    InstancesPurged,
    LeadershipClaimed,
    LeadershipResigned,
    LeasesRenewed,
    MessagesPurged,
    OutboxPurged,
)
_PATIENCE = 60.0
_LAST_TURNS = 20
_LONGEST_UNREST = 0.5


class Moment(Enum):
    """When something happens to a worker, as seen from one of its commits."""

    BEFORE = "dies before"
    AFTER = "dies after"
    UNANSWERED = "never hears of"
    FROZEN = "stands still before"


@dataclass(frozen=True)
class Fate:
    """What happens at the commit of this number, counted from one."""

    moment: Moment
    number: int


class End(Enum):
    """Why a worker does not go on."""

    DONE = "done"
    DEAD = "dead"
    FROZEN = "frozen"


class Died(BaseException):
    """Nothing that a dead worker asks of its database is done."""


class _Loop(asyncio.SelectorEventLoop):
    """A loop whose threads end with it: one that was just connecting may come too late."""

    def call_soon_threadsafe(self, *args: Any, **context: Any) -> asyncio.Handle:  # type: ignore[override]
        if self.is_closed():
            raise SystemExit
        return super().call_soon_threadsafe(*args, **context)


class MortalWorker:
    """One app that plays a part, until its end or its fate."""

    def __init__(self, app: EddaApp, play: Play, effects: list[str], fate: Fate | None = None) -> None:
        if not isinstance(app.storage, SQLAlchemyStorage):
            raise TypeError(f"a worker dies in commits of its database, which {app.storage!r} is not")
        self.app = app
        self._storage = app.storage
        self._play = play
        self._effects = effects
        self._fate = fate
        self.commits: list[Sequence[str]] = []
        """The writes of each counted commit."""
        self._dead = self._frozen = False
        self._busy = 0
        """Commits and sessions under way."""
        self._under_way: dict[int, Sequence[Write[Any]]] = {}
        self._loop = _Loop()
        self._loop.set_exception_handler(lambda *_: None)
        self._main: asyncio.Task[None] | None = None
        self._halted = self._loop.create_future()
        self._thawed = self._loop.create_future()
        self._connecting = 0
        self._made: list[Any] = []
        self._taken: dict[Any, Any] = {}
        """Connections, and those that are out of their pools."""
        self._note_taken(self._storage.engine)
        app.storage.open = functools.partial(self._open, app.storage.open)  # type: ignore[method-assign]

    # -- from outside --------------------------------------------------------------

    def live(self) -> End:
        """Play the part; returns when that is over, or at the moment of its fate."""
        if self._main is None:
            context = copy_context()
            context.run(_worker.set, self)
            self._main = self._loop.create_task(self._work(), context=context)
        else:
            self._halted = self._loop.create_future()
            self._thawed.set_result(None)
        self._loop.run_until_complete(asyncio.wait({self._main, self._halted}, return_when="FIRST_COMPLETED"))
        if self._main.done() and not self._dead:
            self._main.result()
            return End.DONE
        return End.DEAD if self._dead else End.FROZEN

    def bury(self) -> None:
        """Cut what is left of it."""
        if not self._dead:
            self._loop.call_soon(self._fall_silent)
        self._loop.run_until_complete(self._clear_away())
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    @property
    def fate_is_fulfilled(self) -> bool:
        """Whether it came as far as the commit of its fate."""
        return self._fate is None or len(self.commits) >= self._fate.number

    @property
    def is_dead(self) -> bool:
        """Whether its fate has struck, or it was buried."""
        return self._dead

    def note(self, effect: str) -> None:
        """An effect outside the database."""
        if self._dead:
            raise Died
        self._effects.append(effect)

    # -- inside --------------------------------------------------------------------

    async def _work(self) -> None:
        async with asyncio.timeout(_PATIENCE), self.app:
            self._watch()
            with self.app.activate():
                await self._play(self.app)

    async def _open(self, opening: Callable[..., Awaitable[None]], *, migrate: bool) -> None:
        await opening(migrate=migrate)
        storage = self._storage
        for engine in (storage._sessions, storage._reads):
            if engine is not None and engine is not storage.engine:
                self._note_taken(engine)

    def _watch(self) -> None:
        """From here on all commits are counted."""
        storage = self._storage
        writer: Any = storage._writer
        self._writer, self._inside = writer, self.app._require_worker()
        label = functools.partial(self._note_writes, writer._apply)
        writer._apply = storage._apply = label  # type: ignore[method-assign]
        committing = getattr(writer._committer._engine, "sync_engine", writer._committer._engine)
        if storage._sessions is None:
            raise RuntimeError("the storage is not open")
        reads = storage._reads or storage.engine
        engines: set[Engine] = {committing, storage._sessions.sync_engine, reads.sync_engine}
        for engine in engines:
            event.listen(engine, "before_cursor_execute", self._check_alive)
        for dialect in {engine.dialect for engine in engines}:  # which engines may share
            dialect.do_commit = functools.partial(self._commit, dialect.do_commit)  # type: ignore[method-assign]
        if self._fate is not None and self._fate.moment is Moment.FROZEN:
            writer._transact = functools.partial(self._freeze_writer, writer._transact)
            storage.transaction = functools.partial(self._freeze_session, storage.transaction)  # type: ignore[method-assign]

    def _note_taken(self, engine: AsyncEngine) -> None:
        if engine.dialect.name == "sqlite":  # a server ends a connection that nobody knows of by itself
            event.listen(engine.sync_engine, "do_connect", self._begin_connecting)
        event.listen(engine.sync_engine, "connect", self._end_connecting)
        event.listen(
            engine.sync_engine, "checkout", lambda _, record, taken: self._taken.update({record: taken})
        )
        event.listen(engine.sync_engine, "checkin", lambda _, record: self._taken.pop(record, None))

    def _begin_connecting(self, *_: object) -> None:
        self._connecting += 1

    def _end_connecting(self, made: Any, _: object) -> None:
        self._connecting = max(0, self._connecting - 1)
        self._made.append(made)

    def _note_writes(
        self, apply: Callable[..., Any], connection: Any, writes: Sequence[Write[Any]], attempt: Attempt
    ) -> Any:
        self._under_way[id(connection.connection.dbapi_connection)] = writes
        return apply(connection, writes, attempt)

    def _check_alive(self, *_: object) -> None:
        if self._dead:
            raise Died
        if self._frozen and in_greenlet():  # the last turns of the loop
            await_only(self._thawed)

    def _commit(self, commit: Callable[[Any], None], connection: Any) -> None:
        self._check_alive()
        writes = self._under_way.pop(id(connection.dbapi_connection), None)
        if writes is None:  # a new connection is being prepared
            commit(connection)
            return
        moment = self._reach(writes, (Moment.BEFORE, Moment.AFTER, Moment.UNANSWERED))
        if moment is Moment.BEFORE:
            self._die()
        commit(connection)
        if moment is Moment.AFTER:
            self._die()
        if moment is Moment.UNANSWERED:
            _lose_answer(connection)

    def _reach(self, writes: Sequence[Write[Any]], moments: tuple[Moment, ...]) -> Moment | None:
        """Count a commit; returns what happens at it."""
        fate = self._fate
        if (fate is not None and fate.moment not in moments) or _is_housekeeping(writes):
            return None
        counted = [write for write in writes if not isinstance(write, _HOUSEKEEPING)]
        self.commits.append(sorted({_name(write) for write in counted}) or ["session"])
        return fate.moment if fate is not None and len(self.commits) == fate.number else None

    def _die(self) -> None:
        self._fall_silent()
        raise Died

    def _fall_silent(self) -> None:
        self._dead = True
        self._storage._writer = None
        self._loop.call_soon_threadsafe(self._halt)

    def _halt(self) -> None:
        if not self._halted.done():
            self._halted.set_result(None)

    async def _freeze_writer(
        self, transact: Callable[..., Any], batch: Sequence[Any], attempt: Attempt
    ) -> Any:
        if self._reach([entry.write for entry in batch], (Moment.FROZEN,)):
            await self._stand_still()
        self._busy += 1
        try:
            return await transact(batch, attempt)
        finally:
            self._busy -= 1

    def _freeze_session(self, transaction: Callable[[], Any]) -> Any:
        begun = transaction()

        def begin(_session: object, beginning: Any) -> None:
            if beginning.parent is None:
                if self._reach((), (Moment.FROZEN,)):
                    await_only(self._stand_still())
                self._busy += 1

        def end(_session: object, ending: Any) -> None:
            if ending.parent is None:
                self._busy -= 1

        event.listen(begun.session.sync_session, "after_transaction_create", begin)
        event.listen(begun.session.sync_session, "after_transaction_end", end)
        return begun

    async def _stand_still(self) -> None:
        """Let the loop stop here, unless something goes on whose locks nobody could wait for."""
        deadline = monotonic() + _LONGEST_UNREST
        gate = self._storage.gate
        while self._busy or gate.locked():
            if monotonic() > deadline:
                return
            await asyncio.sleep(0.001)
        async with gate:
            self._frozen = True
            self._halt()
            await self._thawed
            self._frozen = False

    async def _clear_away(self) -> None:
        withdraw_engine(self._inside.engine)
        deadline = monotonic() + _LONGEST_UNREST
        while self._connecting and monotonic() < deadline:  # else nobody would know of the connection
            await asyncio.sleep(0.001)
        for made in self._made:
            _cut(made)
        await _end_all_tasks()
        committer, storage = self._writer._committer, self._storage
        await committer.reset()
        await committer.close()
        for taken in list(self._taken.values()):
            if taken.is_valid:
                await greenlet_spawn(taken.invalidate)
        if storage._others is not None:
            await storage._others.close()
        await storage._dispose()
        for made in self._made:
            driver = made.driver_connection
            # One that was told to stop ends by itself: closing it would wait for its thread, which has gone.
            if isinstance(driver, aiosqlite.Connection) and driver._running:
                await driver.close()
        self._inside._threads.shutdown(wait=False, cancel_futures=True)
        await _end_all_tasks()


_worker: ContextVar[MortalWorker] = ContextVar("mortal_worker")


def note(effect: str) -> None:
    """Leave a trace outside the database, unless the worker that runs this is dead."""
    _worker.get().note(effect)


def check_alive() -> None:
    """Raise :class:`Died` in code that is run by a worker which is dead."""
    worker = _worker.get(None)
    if worker is not None and worker.is_dead:
        raise Died


async def _end_all_tasks() -> None:
    own = asyncio.current_task()
    for _ in range(_LAST_TURNS):
        tasks = {task for task in asyncio.all_tasks() if task is not own}
        if not tasks:
            return
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=1)
    raise AssertionError(f"tasks of a dead worker do not end: {tasks}")


def _lose_answer(connection: Any) -> None:
    """Break the connection after its commit."""
    if _cut(connection.dbapi_connection):
        raise ConnectionResetError("the answer to a commit was lost")
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR
    raise error


def _cut(adapter: Any) -> bool:
    """End the line to a server at once; False if there is none."""
    driver = getattr(adapter, "driver_connection", adapter)
    if isinstance(driver, sqlite3.Connection | aiosqlite.Connection):
        return False
    getattr(driver, "terminate", driver.close)()
    return True


def _is_housekeeping(writes: Sequence[Write[Any]]) -> bool:
    return bool(writes) and all(isinstance(write, _HOUSEKEEPING) for write in writes)


def _name(write: Write[Any]) -> str:
    name = type(write).__name__
    return f"{name} {write.activity_id}" if isinstance(write, StepRecorded) else name
