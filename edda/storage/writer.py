"""Group commit: typed writes in, one transaction for all who wait, an answer for each.

While one transaction is under way the writes that arrive form the next. So an idle
writer commits at once, and a busy one commits many writes at the price of one.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection

from edda.clock import monotonic
from edda.exceptions import StorageError, StorageUnavailableError
from edda.ids import fraction
from edda.storage.batch import Applied
from edda.storage.committers import Committer
from edda.storage.dialects.base import Attempt, Failure
from edda.storage.news import Listener
from edda.storage.writes import Write

A = TypeVar("A")
Apply = Callable[[Connection, Sequence[Write[Any]], Attempt], Applied]

MAX_BATCH = 500
WITHIN = 30.0
CLOSING_SECONDS = 10.0
# A commit that takes longer than this is on a connection that is broken without saying so.
LONGEST_COMMIT = 10.0
SHORTEST_CUT = 1.0
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 2.0
LONGEST_JITTER = 0.05
# What a database says may quote the data.
LONGEST_REASON = 200

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Entry:
    write: Write[Any]
    answer: asyncio.Future[Any]
    deadline: float


class GroupCommitWriter:
    """Collects writes and commits them through a :class:`Committer`, one batch after another.

    ``apply`` executes the writes of a batch on a connection; ``classify`` says what an
    error means for them; ``tell`` hears what each commit made known.
    """

    def __init__(
        self,
        committer: Committer,
        apply: Apply,
        classify: Callable[[BaseException], Failure],
        tell: Listener,
    ) -> None:
        self._committer = committer
        self._apply = apply
        self._classify = classify
        self._tell = tell
        self._queue: deque[_Entry] = deque()
        self._arrived = asyncio.Event()
        self._closed = False
        self._task: asyncio.Task[None] | None = None
        self._applied: Applied | None = None

    def start(self) -> None:
        """Begin to commit; to be called in the event loop of the submitters."""
        self._task = asyncio.create_task(self._work(), name="edda-writer")

    async def submit(self, write: Write[A], *, within: float | None = None) -> A:
        """Commit the write together with those of others and return its own answer."""
        if self._closed:
            raise StorageUnavailableError("The storage is closed")
        entry = _Entry(
            write,
            asyncio.get_running_loop().create_future(),
            monotonic() + (WITHIN if within is None else within),
        )
        self._queue.append(entry)
        self._arrived.set()
        answer: A = await entry.answer
        return answer

    async def close(self) -> None:
        """Commit what is waiting, for a bounded time, and stop. Harmless when repeated."""
        self._closed = True
        self._arrived.set()
        task, self._task = self._task, None
        if task is not None:
            _, unfinished = await asyncio.wait({task}, timeout=CLOSING_SECONDS)
            task.cancel()
            await asyncio.wait({task})
            if unfinished:
                logger.warning("The storage was closed with writes that could not be committed")
        self._refuse(
            list(self._queue),
            StorageUnavailableError("The storage was closed before this write was committed"),
        )
        self._queue.clear()
        await self._committer.close()

    async def _work(self) -> None:
        while True:
            if not self._queue:
                if self._closed:
                    return
                self._arrived.clear()
                await self._arrived.wait()
                continue
            batch = self._take()
            try:
                await self._commit(batch, Attempt.FIRST)
            except Exception:  # a defect of ours must not leave all later writes without an answer
                logger.exception("The writer failed")
            finally:
                # Only a writer that failed or was ended in the middle leaves an answer open.
                self._refuse(batch, StorageError("The writer ended before this write was committed"))

    def _take(self) -> list[_Entry]:
        size = min(len(self._queue), MAX_BATCH)
        entries = [self._queue.popleft() for _ in range(size)]
        return [entry for entry in entries if not entry.answer.done()]

    async def _commit(self, batch: Sequence[_Entry], attempt: Attempt) -> None:
        failures = 0
        while batch:
            try:
                applied = await self._transact(batch, attempt)
            except Exception as error:  # noqa: BLE001 - whatever it is, these writes need an answer
                failure = self._classify(error)
                if failure is Failure.REFUSED:
                    await self._divide(batch, attempt, error)
                    return
                if failure is Failure.UNREACHABLE and self._applied is not None:
                    _note_unanswered(batch, self._applied)
                attempt = await self._recover(failure, error, attempt, failures)
                failures += 1
                batch = self._without_overdue(batch, error)
            else:
                _deliver(batch, applied)
                self._tell(applied.news)
                return

    async def _transact(self, batch: Sequence[_Entry], attempt: Attempt) -> Applied:
        patience = min(entry.deadline for entry in batch) - monotonic()
        writes = [entry.write for entry in batch]
        self._applied = None

        def apply(connection: Connection) -> Applied:
            self._applied = self._apply(connection, writes, attempt)
            return self._applied

        try:
            return await self._committer.commit(
                apply,
                cut_after=min(max(patience, SHORTEST_CUT), LONGEST_COMMIT),
            )
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Not the writer was cancelled, but what the driver waited for: it must not end the writer.
            raise ConnectionError("the driver has cancelled the commit") from error

    async def _divide(self, batch: Sequence[_Entry], attempt: Attempt, error: Exception) -> None:
        """Find the write that the database refuses; its neighbours are committed without it."""
        if len(batch) == 1:
            logger.warning("The database refused a write", extra={"write": type(batch[0].write).__name__})
            self._refuse(batch, StorageError(f"The database refused the write: {reason(error)}"), error)
            return
        middle = len(batch) // 2
        after = Attempt.REPEATED if attempt is Attempt.FIRST else attempt
        await self._commit(batch[:middle], after)
        await self._commit(batch[middle:], after)

    async def _recover(self, failure: Failure, error: Exception, attempt: Attempt, failures: int) -> Attempt:
        """Wait before the next attempt; return what it may take for granted."""
        if failure is Failure.CONFLICT:
            # The first conflict is mostly over at once; those who meet again draw apart.
            await asyncio.sleep(fraction() * min(failures * FIRST_PAUSE / 10, LONGEST_JITTER))
            return attempt if attempt is Attempt.UNCERTAIN else Attempt.REPEATED
        if failures == 0:
            logger.warning("The database cannot be reached, trying again", extra={"reason": reason(error)})
        await self._committer.reset()
        pause = min(FIRST_PAUSE * 2.0 ** min(failures, 16), LONGEST_PAUSE)
        await asyncio.sleep(pause * (1.0 - fraction() / 4))
        self._queue = deque(self._without_overdue(self._queue, error))
        return Attempt.UNCERTAIN

    def _without_overdue(self, entries: Sequence[_Entry] | deque[_Entry], error: Exception) -> list[_Entry]:
        time = monotonic()
        overdue = [entry for entry in entries if entry.deadline <= time]
        self._refuse(
            overdue,
            StorageUnavailableError(f"The database did not take the write in time: {reason(error)}"),
            error,
        )
        return [entry for entry in entries if not entry.answer.done()]

    def _refuse(
        self, entries: Sequence[_Entry], refusal: StorageError, cause: BaseException | None = None
    ) -> None:
        for entry in entries:
            if not entry.answer.done():
                own = type(refusal)(*refusal.args)
                own.__cause__ = cause
                entry.answer.set_exception(own)


def _note_unanswered(batch: Sequence[_Entry], applied: Applied) -> None:
    for entry, answer in zip(batch, applied.answers, strict=True):
        entry.write = entry.write.unanswered(answer)


def _deliver(batch: Sequence[_Entry], applied: Applied) -> None:
    # In the order of the history: as a run is answered, its outcomes enter its body.
    for place in applied.order or range(len(batch)):
        if not batch[place].answer.done():
            batch[place].answer.set_result(applied.answers[place])


def reason(error: BaseException) -> str:
    """The first line of what the database said, without statement and parameters."""
    said = str(getattr(error, "orig", None) or error).strip().splitlines()
    return said[0][:LONGEST_REASON] if said else type(error).__name__
