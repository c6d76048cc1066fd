"""Inside which activity code runs: steps in it are numbered under it, not under the body."""

from __future__ import annotations

from contextvars import ContextVar
from functools import cached_property

from edda.attempts import Attempts
from edda.heartbeat import Heartbeat
from edda.journal import StepIds
from edda.run import Run
from edda.variables import Setting


class ActivityScope:
    """One attempt of an activity, as code inside it and its child tasks see it."""

    def __init__(self, run: Run, step_id: str, attempts: Attempts) -> None:
        self.run = run
        self.step_id = step_id
        self.heartbeat = Heartbeat(run, attempts)

    @cached_property
    def ids(self) -> StepIds:
        """Where the steps inside this activity are numbered; most have none."""
        return StepIds(f"{self.step_id}/")


_current: ContextVar[ActivityScope | None] = ContextVar("edda_activity_scope", default=None)


def inside_activity(scope: ActivityScope) -> Setting[ActivityScope | None]:
    """Code in this block, and tasks made in it, belong to the activity."""
    return Setting(_current, scope)


def activity_scope(run: Run) -> ActivityScope | None:
    """The activity of this run inside which the caller is, or None in the body."""
    scope = _current.get()
    return scope if scope is not None and scope.run is run else None
