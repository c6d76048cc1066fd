"""The tasks of one run: the body's own one, and whether there are others beside it."""

from __future__ import annotations

import asyncio
import gc
from contextvars import Context, ContextVar
from typing import Any
from weakref import ref


class BodyTasks:
    """Knows the task of the body, and by their context variables the tasks that it has made.

    All references are weak: a task leads back to its run, and no cycles are to be left behind.
    """

    def __init__(self) -> None:
        self._body: ref[asyncio.Task[Any]] | None = None
        self._seen_alive: ref[asyncio.Task[Any]] | None = None

    def enter(self) -> None:
        """The current context, and what is copied from it, belongs to the run."""
        _tasks.set(self)

    def begin(self, body: asyncio.Task[Any]) -> None:
        """This task runs the body."""
        self._body = ref(body)

    def is_body(self) -> bool:
        """Whether the caller is the body's own task."""
        return self._body is not None and self._body() is asyncio.current_task()

    def is_alone(self) -> bool:
        """Whether the caller is the body's own task, and no other task of the run is alive.

        Looks at all tasks of the event loop, unless one that it saw before is still alive.
        """
        if not self.is_body():
            return False
        seen = None if self._seen_alive is None else self._seen_alive()
        if seen is not None and not seen.done():
            return False
        caller = asyncio.current_task()
        for task in asyncio.all_tasks():
            if task is not caller and self._may_own(task):
                self._seen_alive = ref(task)
                return False
        return True

    def _may_own(self, task: asyncio.Task[Any]) -> bool:
        context = _context_of(task)
        return context is None or context.get(_tasks) is self


_tasks: ContextVar[BodyTasks] = ContextVar("edda_body_tasks")


def _context_of(task: asyncio.Task[Any]) -> Context | None:
    """The context variables of the task; None if they cannot be found."""
    if hasattr(task, "get_context"):  # from Python 3.12 on
        context: Context = task.get_context()
        return context
    # Python 3.11 has no name for it.
    return next((held for held in gc.get_referents(task) if isinstance(held, Context)), None)
