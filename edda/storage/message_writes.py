"""The typed writes about channels: subscribing, publishing, taking messages, and removing old ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Any, Self

from edda.storage.records import Lease
from edda.storage.writes import AlreadyRecorded, EventsAccepted, StepRecorded, Verdict, Write
from edda.types import ChannelMode

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Published:
    """The message is stored; ``delivered``: its target was waiting on the channel at that moment."""

    delivered: bool


@dataclass(frozen=True, slots=True)
class MessagePublished(Write[Published]):
    """A message for everybody who subscribed, or for one instance alone.

    ``target`` is any instance id of a chain of recurs: whichever of them is live gets the
    message. A ``direct`` message goes to the channel ``{channel}:{id}`` of its target.
    With a ``key`` the publication is remembered under it and happens once, also when the
    answer to its commit was lost; a message that is the effect of a step needs none.
    """

    message_id: str
    channel: str
    data: str
    metadata: str
    types: str | None = None
    target: str | None = None
    direct: bool = False
    key: str | None = None


@dataclass(frozen=True, slots=True)
class ModeConflict:
    """A live instance is subscribed in another mode."""

    existing: ChannelMode


@dataclass(frozen=True, slots=True)
class Subscribed(Write["Verdict | AlreadyRecorded | ModeConflict"]):
    """A subscription of a chain of recurs; a step of the run unless ``activity_id`` is None.

    One that is there already in the same mode stays as it is, with its position.
    """

    lease: Lease
    subscriber: str
    channel: str
    mode: ChannelMode
    activity_id: str | None = None
    event_data: str = "{}"


@dataclass(frozen=True, slots=True)
class Unsubscribed(Write["Verdict | AlreadyRecorded"]):
    """The end of a subscription, if there is one; a step of the run unless ``activity_id`` is None."""

    lease: Lease
    subscriber: str
    channel: str
    activity_id: str | None = None
    event_data: str = "{}"


class NoMessage(Enum):
    """Why no message was taken."""

    NOTHING_THERE = auto()
    """Nothing that this subscriber may take; nothing was written."""
    NOT_SUBSCRIBED = auto()
    """Neither a subscription nor a message for this instance alone; nothing was written."""
    TIMED_OUT = auto()
    """Nothing was there, and that was recorded as the outcome of the step."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A message was taken; the row that records it, as JSON text."""

    event_data: str


TakeAnswer = Taken | NoMessage | ModeConflict | AlreadyRecorded | Verdict


@dataclass(frozen=True, slots=True)
class MessageTaken(Write[TakeAnswer]):
    """The oldest message that the subscriber may take becomes the outcome of this step.

    Its row holds ``id``, ``channel`` (as ``shown_channel``), ``data``, ``types`` if there
    are any, ``metadata`` and ``published_at``. The open wait of the step ends with it.
    ``subscribe`` makes a broadcast subscription first if there is none of any mode. With
    ``timeout_data`` an empty channel is recorded: the time for waiting is over.
    """

    lease: Lease
    subscriber: str
    activity_id: str
    channel: str
    shown_channel: str
    subscribe: bool = False
    timeout_data: str | None = None


@dataclass(frozen=True, slots=True)
class RunResumed(Write[TakeAnswer]):
    """A parked run goes on with a message if one is there that it may take: lease and message, or neither.

    The lease of ``message`` has the token after that with which the run parked. Answered with
    ``LEASE_LOST`` when the instance is not as it was when it parked, whatever has become of it.
    ``granted`` is what an attempt was answered whose commit went unanswered.
    """

    message: MessageTaken
    granted: Taken | None = None

    @property
    def lease(self) -> Lease:
        """The lease under which the run is to go on."""
        return self.message.lease

    @property
    def channel(self) -> str:
        """The channel that it waits on, as it is stored."""
        return self.message.channel

    def unanswered(self, answer: object) -> Self:
        """With what may be taken already."""
        return replace(self, granted=answer) if isinstance(answer, Taken) else self


@dataclass(frozen=True, slots=True)
class Swept:
    """How many rows were removed, and the write that goes on behind them; None at the end."""

    removed: int
    rest: MessagesPurged | ChannelsPurged | None


@dataclass(frozen=True, slots=True)
class MessagesPurged(Write[Swept]):
    """Messages published longer ago than so many seconds go, the oldest first, read or not.

    Those for one instance stay as long as its chain of recurs is live. They are passed
    over once: the next write begins where this one ended, at ``since``.
    """

    older_than: float
    limit: int
    since: datetime = _EPOCH


@dataclass(frozen=True, slots=True)
class ChannelsPurged(Write[Swept]):
    """Channels without messages, subscriptions and waits go; looks at so many, by name, after one of them."""

    limit: int
    after: str = ""


def published_by(write: Write[Any]) -> Iterator[MessagePublished]:
    """The messages that come with this write, unless they or it turn out to be known."""
    match write:
        case MessagePublished():
            yield write
        case StepRecorded(effects=effects) if effects:
            yield from (effect for effect in effects if isinstance(effect, MessagePublished))
        case EventsAccepted(events=events):
            yield from (event.message for event in events if isinstance(event.message, MessagePublished))
