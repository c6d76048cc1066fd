"""Durable operations that are called after their run has ended.

Each is refused, but not at once: a body that swallows the refusal in a loop would keep
the event loop, and all that runs in it, to itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from edda.exceptions import WorkflowSignal

logger = logging.getLogger(__name__)

# Code that is seen out may have operations in its `finally:`; a task that goes on after
# so many refusals goes on for ever.
MOST_REFUSALS = 100

# Kept from the garbage collector, which would close them: they swallow that, too, and run on.
_left_alone: set[asyncio.Task[Any]] = set()


class Refusals:
    """The refused operations of one run, and whether a task of it takes no notice of them."""

    def __init__(self, instance_id: str, *, when_ignored: Callable[[], None]) -> None:
        self._instance_id = instance_id
        self._when_ignored = when_ignored
        self._counts: WeakKeyDictionary[asyncio.Task[Any], int] = WeakKeyDictionary()
        self.ignored = False

    async def pause(self) -> None:
        """Let the event loop go on before an operation is refused.

        It does not return to a task that was refused too often: nothing ends such a task.
        """
        task = asyncio.current_task()
        if task is None:
            return
        retrieve_signal(task)
        count = self._counts[task] = self._counts.get(task, 0) + 1
        if count <= MOST_REFUSALS:
            await asyncio.sleep(0)
            return
        if task not in _left_alone:
            self._leave_alone(task)
        await asyncio.get_running_loop().create_future()  # never done

    def _leave_alone(self, task: asyncio.Task[Any]) -> None:
        logger.error(
            "Code of %s swallows the signal that its run is over and goes on; its task %r is left alone: "
            "catch Exception, not BaseException, around durable operations",
            self._instance_id,
            task.get_name(),
            extra={"instance_id": self._instance_id},
        )
        _left_alone.add(task)
        task.add_done_callback(_left_alone.discard)
        # So asyncio.run() does not wait for it: else the process could not end.
        asyncio._unregister_task(task)  # noqa: SLF001 - documented for those who extend asyncio
        self.ignored = True
        self._when_ignored()


def retrieve_signal(task: asyncio.Task[Any] | None) -> None:
    """Have asyncio not report a signal of the engine as overlooked, if the task ends with one.

    Nobody waits for a branch that outlives its body.
    """
    if task is not None:
        task.add_done_callback(_retrieve)


def _retrieve(task: asyncio.Task[Any]) -> None:
    # Looked at without retrieving it: other errors are still to be reported.
    if isinstance(task._exception, WorkflowSignal):  # noqa: SLF001 - the public way retrieves it
        task.exception()
