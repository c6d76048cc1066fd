"""Inside which activity code runs: steps in it are numbered under it, not under the body."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from edda.attempts import Attempts
from edda.heartbeat import Heartbeat
from edda.journal import StepIds
from edda.run import Run


class ActivityScope:
    """One attempt of an activity, as code inside it and its child tasks see it."""

    def __init__(self, run: Run, step_id: str, attempts: Attempts) -> None:
        self.run = run
        self.step_id = step_id
        self.heartbeat = Heartbeat(run, attempts)
        self.ids = StepIds(f"{step_id}/")


_current: ContextVar[ActivityScope | None] = ContextVar("edda_activity_scope", default=None)


@contextmanager
def inside_activity(scope: ActivityScope) -> Iterator[None]:
    """Code in this block, and tasks made in it, belong to the activity."""
    token = _current.set(scope)
    try:
        yield
    finally:
        _current.reset(token)


def activity_scope(run: Run) -> ActivityScope | None:
    """The activity of this run inside which the caller is, or None in the body."""
    scope = _current.get()
    return scope if scope is not None and scope.run is run else None
