"""For tests of your workflows: an app in memory, a clock that is moved, fakes, crashes, replays.

Nothing here is needed to run workflows, and ``import edda`` does not import it.
"""

from __future__ import annotations

from edda.testing.crashing import CrashReport, crash_at, crash_at_every_write
from edda.testing.environment import WorkflowEnvironment
from edda.testing.fakes import Call, FakeActivity
from edda.testing.histories import StoredHistory, export_histories
from edda.testing.replaying import ReplayReport, compare_histories, replay_history
from edda.testing.surroundings import Surroundings

__all__ = [
    "Call",
    "CrashReport",
    "FakeActivity",
    "ReplayReport",
    "StoredHistory",
    "Surroundings",
    "WorkflowEnvironment",
    "compare_histories",
    "crash_at",
    "crash_at_every_write",
    "export_histories",
    "replay_history",
]
