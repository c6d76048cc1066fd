"""The typed writes about the upkeep of the database: who leads, and what was given up and begins anew."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from edda.storage.writes import Write

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class LeaderTerm:
    """Whether the asker leads now, and for how many seconds the term of whoever leads still lasts."""

    granted: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class LeadershipClaimed(Write[LeaderTerm]):
    """The owner leads for so many seconds from now, unless the term of another one is not over."""

    owner: str
    seconds: float


@dataclass(frozen=True, slots=True)
class LeadershipResigned(Write[None]):
    """The term of this owner, if it has one, ends now."""

    owner: str


@dataclass(frozen=True, slots=True)
class DeadLetterRequeued(Write[bool]):
    """The handlers of an event that gave up are run again; answered with whether there is such an event."""

    instance_id: str


@dataclass(frozen=True, slots=True)
class InstancesSwept:
    """How many instances were removed, and the write that goes on behind them; None at the end."""

    removed: int
    rest: InstancesPurged | None


@dataclass(frozen=True, slots=True)
class InstancesPurged(Write[InstancesSwept]):
    """Instances that ended longer ago than so many seconds go, each whole, with its history.

    Looks at so many, in the order in which they were started: behind the one that was
    started at ``since`` and has the id ``after``. Ends earlier once so many ``rows`` of
    histories are to go, but never before the first instance.
    """

    older_than: float
    limit: int
    rows: int
    since: datetime = _EPOCH
    after: str = ""
