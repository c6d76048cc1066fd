"""What all loops share: starting, stopping, waking, waiting, and what happens on an error."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod

from edda.clock import monotonic, wait
from edda.exceptions import StorageError

logger = logging.getLogger(__name__)

_FIRST_PAUSE_AFTER_ERROR = 0.2
_LONGEST_PAUSE_AFTER_ERROR = 5.0
_PATIENCE_WITH_LAST_ROUND = 5.0


class Loop(ABC):
    """One background activity of a worker.

    A subclass writes one round of work, which returns the seconds until the next.
    Starting twice, stopping twice and stopping what never started are harmless;
    when ``stop`` returns, the loop has stopped.
    """

    name: str

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._next_at = 0.0
        self._errors = 0
        self._stopping = False

    @abstractmethod
    async def round(self) -> float:
        """Do what is to be done now; returns the seconds until the next round."""

    def start(self) -> None:
        """Begin with a first round at once."""
        if self._task is None:
            self._stopping = False
            self._task = asyncio.get_running_loop().create_task(self._run(), name=f"edda {self.name}")

    async def stop(self) -> None:
        """End the loop and wait until it has ended; a round under way is finished, within bounds."""
        task, self._task = self._task, None
        if task is None:
            return
        self._stopping = True
        self._changed.set()
        _, unfinished = await asyncio.wait({task}, timeout=_PATIENCE_WITH_LAST_ROUND)
        if unfinished:
            task.cancel()
            await asyncio.wait({task})

    def wake(self) -> None:
        """Have the next round now."""
        self.wake_in(0.0)

    def wake_in(self, seconds: float) -> None:
        """Have the next round in this time, or earlier."""
        self._next_at = min(self._next_at, monotonic() + seconds)
        self._changed.set()

    async def _run(self) -> None:
        while not self._stopping:
            self._next_at = float("inf")
            pause = await self._guarded_round()
            self.wake_in(pause)
            await self._until_next()

    async def _until_next(self) -> None:
        while not self._stopping and (pause := self._next_at - monotonic()) > 0:
            self._changed.clear()
            await wait(self._changed, pause)

    async def _guarded_round(self) -> float:
        try:
            pause: float = await self.round()
        except StorageError as error:
            self._errors += 1
            logger.warning(
                "The background loop %r will try again: %s", self.name, error, extra={"loop": self.name}
            )
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and _is_being_cancelled():
                raise
            # One bad round must not end the loop for the life of the process, and neither must a
            # cancellation of what the round waited for.
            self._errors += 1
            logger.exception(
                "The background loop %r failed and will try again", self.name, extra={"loop": self.name}
            )
        else:
            self._errors = 0
            return pause
        return min(_FIRST_PAUSE_AFTER_ERROR * 2.0 ** min(self._errors, 10), _LONGEST_PAUSE_AFTER_ERROR)


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
