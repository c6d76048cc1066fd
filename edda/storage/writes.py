"""The typed writes that callers submit to the writer, and the answers they get.

A write is a plain value. Many of them, from many callers, share one transaction;
each is answered on its own after the commit. Writes of a run carry its lease and
change nothing when the lease has gone to another worker.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum, auto
from typing import Any, Generic, Self, TypeVar

from edda.storage.records import ClaimedInstance, HistoryRecord, Lease
from edda.types import EventType, Status, WaitKind

A_co = TypeVar("A_co", covariant=True)


class Write(Generic[A_co]):
    """Base of all writes; the parameter is the type of the answer."""

    __slots__ = ()

    def unanswered(self, answer: Any) -> Self:
        """The write to repeat when nobody knows whether the commit happened that gave this answer."""
        return self


def under_lease(write: Any, lease: Lease) -> Any:
    """The write, fenced by this lease if it is fenced by one of the same instance."""
    own: Lease | None = getattr(write, "lease", None)
    return replace(write, lease=lease) if own is not None and own.instance_id == lease.instance_id else write


class Verdict(Enum):
    """The answer to a fenced write."""

    ACCEPTED = auto()
    LEASE_LOST = auto()
    CANCEL_REQUESTED = auto()
    """The lease goes on under the next token. Of all writes, a step is recorded all the same."""


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
    of the lease of a new instance is 1. A successor is ``continued_from`` the instance
    before it, and its ``chain_id`` is the id of the first one; None for a first instance.
    """

    instance_id: str
    workflow_name: str
    source_hash: str
    owner_service: str
    input_data: str
    lock_timeout_seconds: float | None = None
    lease: Lease | None = None
    continued_from: str | None = None
    chain_id: str | None = None
    input_types: str | None = None


@dataclass(frozen=True, slots=True)
class InboxEvent:
    """An accepted event; ``event_key`` identifies service, source and id.

    ``message``, a :class:`~edda.storage.message_writes.MessagePublished`, is published with
    the event. ``publication_key`` identifies source and id alone: of several services that
    accept the event the first one publishes.
    """

    event_key: str
    owner_service: str
    source: str
    event_id: str
    event_type: str
    publication_key: str | None = None
    message: Write[Any] | None = None


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
    """One durable step: its row in the history; ``ends_wait`` removes its open wait with it.

    ``effects`` take effect in the same transaction, and only if this very write records
    the step; their own answers are not told. Steps among them, of activities inside an
    activity or a transaction block, come before it in the history.
    """

    lease: Lease
    activity_id: str
    event_type: EventType
    event_data: str
    ends_wait: bool = False
    effects: tuple[Write[Any], ...] = ()


@dataclass(frozen=True, slots=True)
class NewWait:
    """A wait: due ``seconds`` from now by the database's clock, or at an instant, or never.

    ``replace`` overwrites an open wait of that step (the next attempt of an activity);
    otherwise the first registration stands, so a due time never moves. A wait for a
    message names its ``channel``: one that is there makes the instance due at once.
    """

    activity_id: str
    kind: WaitKind
    seconds: float | None = None
    at: datetime | None = None
    data: str | None = None
    replace: bool = False
    channel: str | None = None


@dataclass(frozen=True, slots=True)
class WaitsRegistered(Write[Verdict]):
    """Waits of a run that goes on meanwhile."""

    lease: Lease
    waits: tuple[NewWait, ...]


@dataclass(frozen=True, slots=True)
class WaitsEnded(Write[Verdict]):
    """Open waits that the run has given up: they must not wake it any more.

    ``channels`` are those for whose messages it waited: a message for which this run was
    woken may be left, and then another one that competes for it is woken instead.
    """

    lease: Lease
    activity_ids: tuple[str, ...]
    channels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Parked:
    """The run is parked; seconds until it is due by the database's clock, None: never."""

    due_in: float | None


@dataclass(frozen=True, slots=True)
class RunParked(Write[Any]):
    """A run that only waits: its waits are registered and its lease is given back.

    It becomes due when the first of its open waits is, and at once when a message that it
    may take is there for one of ``waits``. So every wait for a message is among them each
    time the run parks, also those that are registered already. Answered with ``Parked`` or a verdict.

    One that waits for nothing but a message says how it takes that:
    ``message``, a :class:`~edda.storage.message_writes.MessageTaken`. If there is one it is taken
    instead, the run keeps its lease, and the answer is that of ``message``.
    """

    lease: Lease
    status: Status
    current_activity_id: str
    waits: tuple[NewWait, ...]
    message: Any = None


@dataclass(frozen=True, slots=True)
class RunFinished(Write[Verdict]):
    """The end of an instance: status, output, a last row, and no lease, due time or wait.

    The subscriptions of the chain of recurs ``subscriber`` end with it; None: it has none.
    """

    lease: Lease
    status: Status
    output_data: str
    activity_id: str | None = None
    event_type: EventType | None = None
    event_data: str | None = None
    subscriber: str | None = None


@dataclass(frozen=True, slots=True)
class RollbackBegun(Write[Verdict]):
    """The body is over and what it registered is going to be compensated, whoever does it.

    The output is that of the end; the last row, unless it is there already, says which
    end. The lease is kept, and so are subscriptions. It may have been woken for a message
    that it competes for as ``subscriber``: others are woken instead.
    """

    lease: Lease
    output_data: str
    activity_id: str | None = None
    event_type: EventType | None = None
    event_data: str | None = None
    subscriber: str | None = None


@dataclass(frozen=True, slots=True)
class RunRecurred(Write[Verdict]):
    """The end of an instance and the beginning of its successor, ``new``, leased to the same worker.

    The history of the ended one moves to the archive; it keeps no lease, due time or wait.
    """

    lease: Lease
    output_data: str
    new: NewInstance


@dataclass(frozen=True, slots=True)
class RunReleased(Write[Verdict]):
    """A lease handed back unfinished: due again after ``delay`` seconds.

    With ``last_error`` the run died: it is counted in ``attempts``. Without, or if it is
    ``blameless`` because the database was away, the count starts anew. A run that died may have been
    woken for a message that it competes for as ``subscriber``: others are woken instead.
    """

    lease: Lease
    delay: float = 0.0
    last_error: str | None = None
    subscriber: str | None = None
    blameless: bool = False


@dataclass(frozen=True, slots=True)
class LeasesRenewed(Write[dict[str, Verdict]]):
    """All leases of a worker, extended; answered with those that were not, and why, by instance."""

    leases: tuple[Lease, ...]


@dataclass(frozen=True, slots=True)
class InstancesClaimed(Write[tuple[ClaimedInstance, ...]]):
    """The oldest due instances of these workflows, each leased to the claimer.

    The lease lasts ``lease_seconds`` or the instance's own lock timeout, if shorter.
    ``granted``, here and in other writes that lease, is what an attempt leased whose
    commit went unanswered.
    """

    owner: str
    workflow_names: tuple[str, ...]
    limit: int
    lease_seconds: float
    granted: tuple[ClaimedInstance, ...] = ()

    def unanswered(self, answer: tuple[ClaimedInstance, ...]) -> Self:
        """With what may be leased already: nobody else would run it before the lease runs out."""
        return replace(self, granted=answer)


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
    granted: ClaimedInstance | None = None

    def unanswered(self, answer: object) -> Self:
        """With what may be leased already."""
        return replace(self, granted=answer) if isinstance(answer, ClaimedInstance) else self


@dataclass(frozen=True, slots=True)
class InboxPurged(Write[int]):
    """Events accepted longer ago than so many seconds are forgotten, the oldest first; answers how many."""

    older_than: float
    limit: int


@dataclass(frozen=True, slots=True)
class Announced(Write[None]):
    """No row at all: a notification for every process that listens, this one included."""

    payload: str


class NotCancellable(Enum):
    """Why an instance cannot be cancelled."""

    NOT_LIVE = auto()
    PAST_PIVOT = auto()


@dataclass(frozen=True, slots=True)
class CancelTold:
    """The request stands; the run of ``owner`` under the lease with this token is going to obey it."""

    owner: str
    token: int


@dataclass(frozen=True, slots=True)
class CancelRequested(Write["ClaimedInstance | CancelTold | NotCancellable"]):
    """An instance is to end as cancelled. One that nobody runs is leased to the one who asks.

    Refused for what has ended, is being rolled back, has passed its pivot, or does not
    exist. Asking again changes nothing.
    """

    owner: str
    instance_id: str
    lease_seconds: float
    cancelled_by: str
    cancelled_at: datetime
    granted: ClaimedInstance | None = None

    def unanswered(self, answer: object) -> Self:
        """With what may be leased already."""
        return replace(self, granted=answer) if isinstance(answer, ClaimedInstance) else self


class NotReopened(Enum):
    """Why there is nothing to compensate again."""

    UNKNOWN = auto()
    LIVE = auto()
    NOTHING_FAILED = auto()


@dataclass(frozen=True, slots=True)
class RollbackReopened(Write["ClaimedInstance | NotReopened"]):
    """An instance that ended with failed compensations is to execute those again.

    Their rows go, and it is rolled back once more, leased to the one who asks.
    """

    owner: str
    instance_id: str
    lease_seconds: float
    granted: ClaimedInstance | None = None

    def unanswered(self, answer: object) -> Self:
        """With what may be leased already."""
        return replace(self, granted=answer) if isinstance(answer, ClaimedInstance) else self
