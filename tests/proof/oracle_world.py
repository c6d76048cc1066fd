"""What the model of the oracle holds: all that a database would, as plain values in memory.

Time is a number of seconds. It goes on a little with each batch, so that what came later
is later, and by hours when the test lets time pass. Everything that lasts does so for a
whole number of hours and a half: no comparison depends on how fast the machine is.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from edda.storage.records import Lease
from edda.storage.writes import NewWait, Verdict
from edda.types import TERMINAL_STATUSES, ChannelMode, OutboxStatus, Status

HOUR = 3600.0
TICK = 0.001

Row = tuple[str, str, str]
"""A step in the history: its id, its kind and its data."""


@dataclass
class Wait:
    kind: str
    due: float | None
    data: str | None
    channel: str | None


@dataclass
class Instance:
    instance_id: str
    workflow_name: str
    input_data: str
    started: float
    updated: float
    status: Status = Status.RUNNING
    owner: str | None = None
    token: int = 0
    leased_at: float | None = None
    due: float | None = None
    extra: float = 0.0
    """The lease may last so much longer: what has killed its workers is taken over later each time."""
    lock_timeout: float | None = None
    attempts: int = 0
    error: str | None = None
    output: str | None = None
    cancel_token: int | None = None
    chain_id: str | None = None
    continued_from: str | None = None
    current: str | None = None
    history: dict[str, Row] = field(default_factory=dict)
    archive: list[Row] = field(default_factory=list)
    waits: dict[str, Wait] = field(default_factory=dict)

    @property
    def chain(self) -> str:
        return self.chain_id or self.instance_id

    @property
    def is_live(self) -> bool:
        return self.status not in TERMINAL_STATUSES

    @property
    def is_parked(self) -> bool:
        """Whether a message may wake it: a leased one looks by itself, one that was set aside stays so."""
        rolls_back = self.status is Status.COMPENSATING and self.error is None
        return self.owner is None and (rolls_back or self.status is Status.WAITING_FOR_MESSAGE)

    def waits_on(self, channel: str) -> bool:
        return any(wait.channel == channel for wait in self.waits.values())


@dataclass
class Channel:
    next_position: int = 1
    mode: ChannelMode | None = None


@dataclass
class Message:
    channel: str
    target: str
    position: int
    message_id: str
    data: str
    published: float


@dataclass
class Subscription:
    mode: ChannelMode
    position: int


@dataclass
class Event:
    event_id: str
    source: str
    status: OutboxStatus = OutboxStatus.PENDING
    is_open: bool = True
    arrived: float | None = None
    failures: int = 0
    retry_count: int = 0
    error: str | None = None
    published: float | None = None


@dataclass
class Key:
    due: float
    token: str | None = None
    for_broker: bool = False


@dataclass
class Leader:
    owner: str | None
    expires: float


@dataclass(frozen=True)
class Either:
    """One of these answers: which one depends on what else has made the batch begin anew."""

    answers: tuple[Any, ...]


@dataclass(frozen=True)
class Choice:
    """So many of these wait for a message that one of them gets; the database chooses whom it wakes."""

    crowd: tuple[str, ...]
    messages: int


@dataclass
class World:
    done: Counter[str]
    """How often each kind of operation has taken effect."""
    now: float = 0.0
    instances: dict[str, Instance] = field(default_factory=dict)
    channels: dict[str, Channel] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    subscriptions: dict[tuple[str, str], Subscription] = field(default_factory=dict)
    inbox: dict[str, tuple[str, float]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    keys: dict[str, Key] = field(default_factory=dict)
    leader: Leader | None = None
    given: list[Lease] = field(default_factory=list)
    """Every lease that there ever was."""
    shared: set[str] = field(default_factory=set)
    """Channels on which somebody may take what is there."""
    woken: set[str] = field(default_factory=set)
    choices: list[Choice] = field(default_factory=list)

    # -- the fence -------------------------------------------------------------------------

    def held(self, lease: Lease) -> Instance | None:
        """The instance, if this is its lease."""
        one = self.instances.get(lease.instance_id)
        return one if one is not None and (one.owner, one.token) == (lease.owner, lease.token) else None

    def refusal(self, lease: Lease) -> Verdict:
        one = self.instances.get(lease.instance_id)
        asked = one is not None and one.cancel_token == lease.token
        if asked and one is not None and (one.owner, one.token) == (lease.owner, lease.token + 1):
            self.done["write of a run that is to cancel"] += 1
            return Verdict.CANCEL_REQUESTED
        self.done["write under a stale token"] += 1
        return Verdict.LEASE_LOST

    def handed_back(self, lease: Lease) -> Instance | None:
        """The instance, if this was its last lease and was given back."""
        one = self.instances.get(lease.instance_id)
        return one if one is not None and (one.owner, one.token) == (None, lease.token) else None

    def is_due(self, one: Instance) -> bool:
        return one.due is not None and one.due <= self.now

    # -- what several subjects need --------------------------------------------------------

    def after(self, seconds: float | None) -> float | None:
        return None if seconds is None else self.now + seconds

    def chain_of(self, instance_id: str) -> str:
        one = self.instances.get(instance_id)
        return instance_id if one is None else one.chain

    def stored_name(self, channel: str) -> str:
        """The name of a channel of one chain alone, whichever of its ids is in it."""
        short, _, instance_id = channel.rpartition(":")
        return f"{short}:{self.chain_of(instance_id)}" if short else channel

    def lock(self, channel: str) -> Channel:
        """The channel; it is there from the first write that concerns it."""
        return self.channels.setdefault(channel, Channel())

    def competing(self, chain: str) -> set[str]:
        return {
            channel
            for (subscriber, channel), held in self.subscriptions.items()
            if subscriber == chain and held.mode is ChannelMode.COMPETING
        }

    def public(self, channel: str) -> list[Message]:
        return [one for one in self.messages if (one.channel, one.target) == (channel, "")]

    def own(self, channel: str, chain: str) -> list[Message]:
        """The messages for this chain alone."""
        return [one for one in self.messages if (one.channel, one.target) == (channel, chain)]

    def unread(self, channel: str, chain: str) -> list[Message]:
        """The messages for everybody that this chain may take."""
        held = self.subscriptions.get((chain, channel))
        if held is None:
            return []
        read = held.position if held.mode is ChannelMode.BROADCAST else 0
        return [one for one in self.public(channel) if one.position > read]

    def waiting(self, channel: str) -> list[Instance]:
        """The parked instances that wait on the channel."""
        return [one for one in self.instances.values() if one.is_parked and one.waits_on(channel)]

    def register(self, one: Instance, waits: tuple[NewWait, ...]) -> None:
        for new in waits:
            if new.replace or new.activity_id not in one.waits:
                channel = None if new.channel is None else self.stored_name(new.channel)
                one.waits[new.activity_id] = Wait(new.kind, self.after(new.seconds), new.data, channel)

    # -- the end of the exchange on channels -------------------------------------------------

    def close_channels(self) -> None:
        """Make due whoever waits for what is there; of those who compete as many as there are messages."""
        for channel in sorted(self.shared & self.channels.keys()):
            if self.channels[channel].mode is ChannelMode.COMPETING:
                crowd = tuple(one.instance_id for one in self.waiting(channel))
                there = len(self.public(channel))
                if there >= len(crowd):
                    self.woken |= set(crowd)
                elif there:
                    self.choices.append(Choice(crowd, there))
        for instance_id in self.woken:
            self.wake(instance_id)
        self.shared, self.woken = set(), set()

    def wake(self, instance_id: str) -> None:
        one = self.instances[instance_id]
        if one.is_parked and (one.due is None or one.due > self.now):
            self.done["wake"] += 1
            one.due = self.now
