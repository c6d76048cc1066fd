"""What the writes of one batch share while they deal with channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from edda.storage import channels, history, waiters
from edda.storage.channels import Channel
from edda.storage.dialects.base import Attempt, Dialect
from edda.storage.leases import LeaseState, is_held, refusal
from edda.storage.message_writes import MessageTaken, Subscribed, Unsubscribed
from edda.storage.messages import BEGINNING, EVERYBODY, Reading
from edda.storage.records import HistoryRecord, Lease
from edda.storage.subscriptions import Subscriber
from edda.storage.writes import Verdict
from edda.types import ChannelMode

ChannelStep = Subscribed | Unsubscribed | MessageTaken


@dataclass(slots=True)
class Exchange:
    """Locked channels, the subscribers of the instances concerned, and leases where they are needed.

    The writes of the batch follow each other on it, so that each sees what those before it
    have done; ``close`` stores what became of the channels and wakes whom that concerns.
    """

    connection: Connection
    dialect: Dialect
    attempt: Attempt
    channels: Mapping[str, Channel]
    subscribers: Mapping[str, Subscriber]
    leases: Mapping[str, LeaseState]
    changed: set[str] = field(default_factory=set)
    shared: set[str] = field(default_factory=set)
    """Channels on which somebody may take what is there: messages came, or a competitor has gone."""
    woken: set[str] = field(default_factory=set)
    """Instances to be made due."""
    found_nothing: set[str] = field(default_factory=set)
    """Instances that are about to park, and have looked for a message under the locks of this batch."""

    def is_held(self, lease: Lease) -> bool:
        """Whether this lease, one of those that were looked up, is still the one."""
        return is_held(self.leases, lease)

    def refusal(self, lease: Lease) -> Verdict:
        """Why a write under this lease, which is not the one any more, takes no effect."""
        return refusal(self.leases, lease)

    def recorded(self, steps: Sequence[ChannelStep]) -> dict[history.Step, HistoryRecord]:
        """Those of these steps that are in the history."""
        keys = [(step.lease.instance_id, step.activity_id) for step in steps if step.activity_id is not None]
        return history.find(self.connection, self.dialect, keys) if keys else {}

    def change(self, channel: str) -> Channel:
        """The channel, to be changed."""
        self.changed.add(channel)
        return self.channels[channel]

    def is_competing(self, channel: str) -> bool:
        """Whether the subscribers of a locked channel share its messages."""
        return self.channels[channel].mode is ChannelMode.COMPETING

    def close(self) -> set[str]:
        """Store what became of the channels and make due whoever waits for what is there; returns them."""
        channels.save(self.connection, self.dialect, {name: self.channels[name] for name in self.changed})
        shared = {name for name in self.shared if self.is_competing(name)}
        if shared:
            self.woken |= waiters.competing(self.connection, self.dialect, shared)
        return self.woken if waiters.wake(self.connection, self.dialect, self.woken) else set()


def readings(subscriber: Subscriber, channel: str) -> list[Reading]:
    """Where a subscriber finds messages of the channel: its own, and those for everybody."""
    own: Reading = (channel, subscriber.subscriber_id, BEGINNING)
    held = subscriber.channels.get(channel)
    if held is None:
        return [own]
    after = BEGINNING if held.mode is ChannelMode.COMPETING else held.position
    return [own, (channel, EVERYBODY, after)]
