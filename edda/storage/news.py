"""What a commit made known, for those who would otherwise have to look for it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, fields
from typing import Any

from edda.storage.message_writes import MessagePublished
from edda.storage.upkeep_writes import DeadLetterRequeued
from edda.storage.writes import (
    CancelRequested,
    CancelTold,
    EventsAccepted,
    NewInstance,
    RunReleased,
    Verdict,
    Write,
)
from edda.storage.writes_outbox import OutboxEventAdded, OutboxRequeued

# Of more instances than these nobody is told one by one: workers look for what is due.
_MOST_NAMED = 16


@dataclass(slots=True)
class News:
    """Told after the commit: in this process to a listener, to others where the database can."""

    due: bool = False
    """An instance is due now, and no worker holds it."""
    cancelled: bool = False
    """A worker's run was asked to end: it learns of that when its lease is renewed."""
    everything: bool = False
    """Anything may have happened: what is told with this was not told one by one."""
    channels: set[str] = field(default_factory=set)
    """Channels to which messages were published."""
    outbox: bool = False
    """There are new events in the outbox."""
    woken: set[str] = field(default_factory=set)
    """Instances that are due now because of messages; ``due`` does not count them."""

    def note_woken(self, instance_ids: Collection[str]) -> None:
        """Messages made these instances due."""
        if len(instance_ids) <= _MOST_NAMED:
            self.woken |= set(instance_ids)
        else:
            self.due = True

    def __bool__(self) -> bool:
        some = self.due or self.cancelled or self.everything or self.outbox
        return some or bool(self.channels) or bool(self.woken)

    @classmethod
    def of_everything(cls) -> News:
        """For those who could not hear for a while: they look at all there is."""
        return cls(**dict.fromkeys(FLAGS, True), channels=set(), woken=set())

    def note(self, writes: Iterable[Write[Any]], answers: Iterable[Any]) -> None:
        """Add what these writes, answered like this, made known."""
        for write, answer in zip(writes, answers, strict=True):
            match write:
                case OutboxEventAdded():
                    self.outbox = True
                case OutboxRequeued():
                    self.outbox |= answer is True
                case CancelRequested():
                    self.cancelled |= isinstance(answer, CancelTold)
                case NewInstance(lease=None):
                    self.due |= answer is True
                case EventsAccepted(instances=instances):
                    self.due |= any(new.lease is None and new.instance_id in answer for new in instances)
                case DeadLetterRequeued():
                    self.due |= answer is True
                case RunReleased(delay=0.0):
                    self.due |= answer is Verdict.ACCEPTED
                case MessagePublished(channel=channel):
                    self.channels.add(channel)


FLAGS = tuple(each.name for each in fields(News) if each.default is False)
"""What is either news or not."""

Listener = Callable[[News], None]
Companion = Callable[[Write[Any]], None]
"""Hears of writes before they are committed."""
