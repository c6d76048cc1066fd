"""The typed writes that callers submit to the writer, and the answers they get.

A write is a plain value. Many of them, from many callers, share one transaction;
each is answered on its own after the commit. Writes of a run carry its lease and
change nothing when the lease has gone to another worker.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Generic, TypeVar

from edda.storage.records import ClaimedInstance, HistoryRecord, Lease
from edda.types import EventType, Status, WaitKind

A_co = TypeVar("A_co", covariant=True)


class Write(Generic[A_co]):
    """Base of all writes; the parameter is the type of the answer."""

    __slots__ = ()


class Verdict(Enum):
    """The answer to a fenced write."""

    ACCEPTED = auto()
    LEASE_LOST = auto()


@dataclass(frozen=True, slots=True)
class AlreadyRecorded:
    """The step has another recorded outcome, which stands."""

    record: HistoryRecord


@dataclass(frozen=True, slots=True)
class DefinitionRegistered(Write[None]):
    """A version of a workflow function; once per process and version."""

    workflow_name: str
    source_hash: str
    source_code: str


@dataclass(frozen=True, slots=True)
class NewInstance(Write[bool]):
    """A new instance, leased to its creator or (no ``lease``) due now for any worker.

    Answered with True, or False when an instance of that id exists already. The token
    of the lease of a new instance is 1.
    """

    instance_id: str
    workflow_name: str
    source_hash: str
    owner_service: str
    input_data: str
    lock_timeout_seconds: float | None = None
    lease: Lease | None = None
    continued_from: str | None = None
    input_types: str | None = None


@dataclass(frozen=True, slots=True)
class InboxEvent:
    """An accepted event; ``event_key`` identifies service, source and id."""

    event_key: str
    owner_service: str
    source: str
    event_id: str
    event_type: str


@dataclass(frozen=True, slots=True)
class EventsAccepted(Write[frozenset[str]]):
    """Events and the instances they start, all or nothing.

    Answered with the ids of the instances that this write created; those that exist
    already (a repeated event) are left as they are.
    """

    events: tuple[InboxEvent, ...]
    instances: tuple[NewInstance, ...]


@dataclass(frozen=True, slots=True)
class StepRecorded(Write["Verdict | AlreadyRecorded"]):
    """One durable step: its row in the history; ``ends_wait`` removes its open wait with it."""

    lease: Lease
    activity_id: str
    event_type: EventType
    event_data: str
    ends_wait: bool = False


@dataclass(frozen=True, slots=True)
class NewWait:
    """A wait: due ``seconds`` from now by the database's clock, or at an instant, or never.

    ``replace`` overwrites an open wait of that step (the next attempt of an activity);
    otherwise the first registration stands, so a due time never moves.
    """

    activity_id: str
    kind: WaitKind
    seconds: float | None = None
    at: datetime | None = None
    data: str | None = None
    replace: bool = False


@dataclass(frozen=True, slots=True)
class WaitsRegistered(Write[Verdict]):
    """Waits of a run that goes on meanwhile."""

    lease: Lease
    waits: tuple[NewWait, ...]


@dataclass(frozen=True, slots=True)
class WaitsEnded(Write[Verdict]):
    """Open waits that the run has given up: they must not wake it any more."""

    lease: Lease
    activity_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Parked:
    """The run is parked; seconds until it is due by the database's clock, None: never."""

    due_in: float | None


@dataclass(frozen=True, slots=True)
class RunParked(Write["Parked | Verdict"]):
    """A run that only waits: its waits are registered and its lease is given back.

    It becomes due when the first of its open waits is.
    """

    lease: Lease
    status: Status
    current_activity_id: str
    waits: tuple[NewWait, ...]


@dataclass(frozen=True, slots=True)
class RunFinished(Write[Verdict]):
    """The end of an instance: status, output, a last row, and no lease, due time or wait."""

    lease: Lease
    status: Status
    output_data: str
    activity_id: str | None = None
    event_type: EventType | None = None
    event_data: str | None = None


@dataclass(frozen=True, slots=True)
class RunReleased(Write[Verdict]):
    """A lease handed back unfinished: due again after ``delay`` seconds.

    With ``last_error`` the run died: it is counted in ``attempts``. Without, it was
    handed back in good order and the count starts anew.
    """

    lease: Lease
    delay: float = 0.0
    last_error: str | None = None


@dataclass(frozen=True, slots=True)
class LeasesRenewed(Write[frozenset[str]]):
    """All leases of a worker, extended; answered with the ids of the instances it has lost."""

    leases: tuple[Lease, ...]


@dataclass(frozen=True, slots=True)
class InstancesClaimed(Write[tuple[ClaimedInstance, ...]]):
    """The oldest due instances of these workflows, each leased to the claimer.

    The lease lasts ``lease_seconds`` or the instance's own lock timeout, if shorter.
    """

    owner: str
    workflow_names: tuple[str, ...]
    limit: int
    lease_seconds: float


class NotClaimable(Enum):
    """Why one particular instance could not be leased."""

    UNKNOWN = auto()
    LEASED = auto()
    TERMINAL = auto()


@dataclass(frozen=True, slots=True)
class InstanceClaimed(Write["ClaimedInstance | NotClaimable"]):
    """One particular instance, leased to the claimer unless another worker's lease is good.

    With ``expected_token`` only while the token is still that one: the resident run of
    a parked instance goes on if nobody else has run it meanwhile.
    """

    owner: str
    instance_id: str
    lease_seconds: float
    expected_token: int | None = None
