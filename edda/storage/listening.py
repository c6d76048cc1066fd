"""Hearing what other processes commit, as long as the database can tell."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from edda.ids import fraction
from edda.storage import announcements
from edda.storage.dialects.base import Line
from edda.storage.news import Listener, News
from edda.storage.writer import reason

OPENING_SECONDS = 15.0
PROOF_SECONDS = 5.0
CHECK_INTERVAL = 30.0
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
PAUSE_WITHOUT_PROOF = 60.0
_NO_LINE, _NOTHING_HEARD = "no line", "nothing heard"

OpenLine = Callable[[Callable[[str], None]], Awaitable[Line]]
Announce = Callable[[str], Awaitable[None]]

logger = logging.getLogger(__name__)


class NothingHeardError(Exception):
    """What this process announced did not come back to it."""


class Listening:
    """Keeps one line to the database open, over and over again, and tells what comes in.

    ``announce`` commits a notification the way all others go. Only when one of our own
    has come back is the line relied upon: behind a proxy that hands connections from
    client to client, listening succeeds and nothing is ever heard. Whenever the line begins or
    ceases to work there is news of everything, since nobody knows what was missed, and
    those who rely on the line must look more often without it.
    """

    def __init__(self, open_line: OpenLine, *, announce: Announce, sender: str, tell: Listener) -> None:
        self._open_line = open_line
        self._announce = announce
        self._sender = sender
        self._tell = tell
        self._echo = asyncio.Event()
        self._works = False
        self._failures = 0
        self._trouble: str | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def works(self) -> bool:
        """Whether what others commit is heard at this moment, as far as is known."""
        return self._works

    def start(self) -> None:
        """Begin to listen, in the background. Harmless when repeated."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._work(), name="edda-listening")

    async def close(self) -> None:
        """Stop listening and give the connection up. Harmless when repeated."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    async def _work(self) -> None:
        while True:
            try:
                await self._use_a_line()
            except Exception as error:  # noqa: BLE001 - whatever it is: without a line workers poll
                await asyncio.sleep(self._pause_after(error))

    async def _use_a_line(self) -> None:
        """Listen until the line breaks, and raise what broke it."""
        async with asyncio.timeout(OPENING_SECONDS):
            line = await self._open_line(self._receive)
        try:
            await self._prove()
            self._note_works()
            await _until_broken(line)
        except Exception:
            self._note_broken()
            raise
        finally:
            await line.close()

    async def _prove(self) -> None:
        self._echo.clear()
        await self._announce(announcements.encode(self._sender, News()))
        try:
            async with asyncio.timeout(PROOF_SECONDS):
                await self._echo.wait()
        except TimeoutError:
            raise NothingHeardError from None

    def _note_works(self) -> None:
        if self._trouble is not None:
            logger.info("Notifications of other processes are heard again")
        self._trouble = None
        self._failures = 0
        self._works = True
        self._tell(News.of_everything())

    def _note_broken(self) -> None:
        if self._works:
            self._works = False
            self._tell(News.of_everything())

    def _receive(self, payload: str) -> None:
        announcement = announcements.decode(payload)
        if announcement is None:
            return
        sender, news = announcement
        if sender == self._sender:  # this process has known since the commit
            self._echo.set()
        elif news:
            self._tell(news)

    def _pause_after(self, error: Exception) -> float:
        self._failures += 1
        if isinstance(error, NothingHeardError):
            self._warn(_NOTHING_HEARD, "they do not arrive; does a proxy pool transactions?")
            return PAUSE_WITHOUT_PROOF
        self._warn(_NO_LINE, reason(error))
        pause = min(FIRST_PAUSE * 2.0 ** min(self._failures - 1, 16), LONGEST_PAUSE)
        return pause * (1.0 - fraction() / 4)

    def _warn(self, trouble: str, cause: str) -> None:
        """Tell about trouble when it begins, not each time it is met again."""
        level = logging.DEBUG if trouble == self._trouble else logging.WARNING
        self._trouble = trouble
        logger.log(level, "No notifications of other processes, polling instead: %s", cause)


async def _until_broken(line: Line) -> None:
    broken = asyncio.ensure_future(line.wait_until_broken())
    try:
        while not broken.done():
            await asyncio.wait({broken}, timeout=CHECK_INTERVAL)
            await line.check()
    finally:
        broken.cancel()
    raise ConnectionError("the line has ended")
