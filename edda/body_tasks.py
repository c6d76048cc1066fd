"""The tasks of one run: the body's own one, and those beside it."""

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
        self.held: set[asyncio.Future[Any]] = set()
        """What losers of a race wait for, which comes with the end of the race."""

    def enter(self) -> None:
        """The current context, and what is copied from it, belongs to the run."""
        _tasks.set(self)

    def begin(self, body: asyncio.Task[Any]) -> None:
        """This task runs the body."""
        self._body = ref(body)

    def is_body(self) -> bool:
        """Whether the caller is the body's own task."""
        return self._body is not None and self._body() is asyncio.current_task()

    @property
    def body(self) -> asyncio.Task[Any] | None:
        """The task that runs the body, while it is there."""
        return None if self._body is None else self._body()

    def alive(self) -> list[asyncio.Task[Any]]:
        """The tasks of the run that have not ended; looks at all tasks of the event loop."""
        return [task for task in asyncio.all_tasks(asyncio.get_running_loop()) if self._may_own(task)]

    def owns(self, context: Context) -> bool:
        """Whether what is called in this context belongs to the run."""
        return context.get(_tasks) is self

    def _may_own(self, task: asyncio.Task[Any]) -> bool:
        context = _context_of(task)
        return context is None or self.owns(context)


_tasks: ContextVar[BodyTasks] = ContextVar("edda_body_tasks")


def _context_of(task: asyncio.Task[Any]) -> Context | None:
    """The context variables of the task; None if they cannot be found."""
    if hasattr(task, "get_context"):  # from Python 3.12 on
        context: Context = task.get_context()
        return context
    # Python 3.11 has no name for it.
    return next((held for held in gc.get_referents(task) if isinstance(held, Context)), None)
