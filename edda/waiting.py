"""The waits of one run: those the body has reached, and those that earlier runs left open.

Due times are read off the database's clock once, when a row is loaded, and kept as
monotonic instants from then on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from edda.clock import monotonic
from edda.storage.message_writes import MessageTaken, TakeAnswer
from edda.storage.records import WaitRecord
from edda.storage.writes import NewWait
from edda.types import WaitKind


@dataclass(slots=True)
class PendingWait:
    """A wait the body has reached; ``due`` is a monotonic instant, None while it is not known.

    ``done`` says whether the time has come; otherwise a message may be there. A ``held``
    one keeps its own time, whatever row there is for the same step. A ``sheltered`` one
    goes on although the instance is cancelled. ``taking`` is the write that takes the message it
    waits for, and its ``answer`` is there when somebody else has made that write.
    """

    wait: NewWait
    registered: bool
    done: asyncio.Future[bool]
    due: float | None = None
    held: bool = False
    sheltered: bool = False
    taking: MessageTaken | None = None
    answer: TakeAnswer | None = None

    @property
    def is_over(self) -> bool:
        """Whether it has ended, or its time has come."""
        return self.done.done() or (self.due is not None and self.due <= monotonic())


@dataclass(frozen=True, slots=True)
class OpenWait:
    """A row in the table of waits; ``due`` is a monotonic instant, None: never."""

    activity_id: str
    kind: WaitKind
    due: float | None
    data: str | None
    channel: str | None = None

    @classmethod
    def of(cls, record: WaitRecord) -> OpenWait:
        """The row as it was just loaded."""
        due = None if record.remaining is None else monotonic() + record.remaining
        return cls(record.activity_id, record.kind, due, record.data, record.channel)

    @property
    def is_over(self) -> bool:
        """Whether its time has come."""
        return self.due is not None and self.due <= monotonic()


class Waits:
    """What the run waits for, and what it must not be woken for any more."""

    def __init__(self, records: Iterable[WaitRecord] = ()) -> None:
        self.pending: dict[str, PendingWait] = {}
        self.abandoned: dict[str, str | None] = {}
        """Steps whose rows are to be removed, with the channel that they waited for."""
        self._open = {record.activity_id: OpenWait.of(record) for record in records}
        self._silenced: set[str] = set()
        self.may_be_due = True
        """Whether any row may have a due time that is not known here."""

    # -- what the body has reached ------------------------------------------------------

    def begin(self, wait: NewWait, taking: MessageTaken | None = None) -> PendingWait:
        """The body has reached this wait; one that an earlier run registered keeps its due time."""
        known = self._open.pop(wait.activity_id, None)
        done = asyncio.get_running_loop().create_future()
        due = None if known is None else known.due
        pending = PendingWait(wait, known is not None, done, due, taking=taking)
        self.pending[wait.activity_id] = pending
        return pending

    def hold(self, wait: NewWait, *, sheltered: bool = False) -> PendingWait:
        """The body waits for so many seconds from now, under the lease."""
        done = asyncio.get_running_loop().create_future()
        due = monotonic() + (wait.seconds or 0.0)
        pending = PendingWait(wait, registered=True, done=done, due=due, held=True, sheltered=sheltered)
        self.pending[wait.activity_id] = pending
        return pending

    def end(self, pending: PendingWait) -> None:
        """The body has gone on; the row of a message that may be there stays until it is taken."""
        wait = pending.wait
        del self.pending[wait.activity_id]
        if pending.registered and wait.kind is WaitKind.MESSAGE:
            self._open[wait.activity_id] = OpenWait(
                wait.activity_id, wait.kind, pending.due, wait.data, wait.channel
            )

    def end_all(self, error: BaseException) -> None:
        """Raise this in every wait."""
        for pending in self.pending.values():
            if not pending.done.done():
                pending.done.set_exception(error)

    def end_unsheltered(self, error: BaseException) -> None:
        """Raise this in every wait that does not outlast a cancellation."""
        for pending in self.pending.values():
            if not pending.sheltered and not pending.done.done():
                pending.done.set_exception(error)

    def to_park(self) -> tuple[NewWait, ...]:
        """The waits to park with: new ones, and all for messages, which may have come meanwhile."""
        return tuple(
            pending.wait
            for pending in self.pending.values()
            if not pending.registered or pending.wait.channel is not None
        )

    def unregistered(self) -> tuple[NewWait, ...]:
        """The pending waits that are not in the database yet."""
        return tuple(pending.wait for pending in self.pending.values() if not pending.registered)

    def note_registered(self, records: Iterable[WaitRecord]) -> None:
        """Learn from the database when the pending waits are due."""
        for record in records:
            row = OpenWait.of(record)
            pending = self.pending.get(record.activity_id)
            if pending is None:
                self._open[record.activity_id] = row
            elif not pending.held:
                pending.registered = True
                pending.due = row.due

    def note_parked(self, due_in: float | None) -> None:
        """The instance is parked and due in so many seconds; None: no row has a time."""
        self.may_be_due = due_in is not None

    def note_all_registered(self) -> None:
        """The pending waits are in the database now; it says when they are due at the next wake-up."""
        for pending in self.pending.values():
            pending.registered = True

    def next_due(self) -> float | None:
        """The monotonic instant of the first pending wait that has one."""
        return min(
            (pending.due for pending in self.pending.values() if pending.due is not None), default=None
        )

    def fire_due(self) -> None:
        """Let the operations go on whose wait is due."""
        now = monotonic()
        for pending in self.pending.values():
            if pending.due is not None and pending.due <= now and not pending.done.done():
                pending.done.set_result(True)

    def look_again(self, channels: AbstractSet[str] | None = None) -> bool:
        """Let those look again who wait for a message on these channels, or on any; say if there are any."""
        waiting = [
            pending
            for pending in self.pending.values()
            if pending.wait.channel is not None
            and (channels is None or pending.wait.channel in channels)
            and not pending.is_over
        ]
        for pending in waiting:
            pending.done.set_result(False)
        return bool(waiting)

    def awaited_channels(self) -> set[str]:
        """The channels on which somebody waits for a message who has not been told of one."""
        return {
            pending.wait.channel
            for pending in self.pending.values()
            if pending.wait.channel is not None and not pending.is_over
        }

    def only_message(self) -> MessageTaken | None:
        """The write that takes the message for which alone the run waits; None if it waits for more."""
        if len(self.pending) != 1 or self.abandoned:
            return None
        (pending,) = self.pending.values()
        return None if pending.is_over else pending.taking

    def hand_over(self, step_id: str, answer: TakeAnswer) -> None:
        """The message that this step waits for was taken for it; a step that was given up leaves it."""
        pending = self.pending.get(step_id)
        if pending is not None and not pending.done.done():
            pending.answer = answer
            pending.done.set_result(False)

    @property
    def none_is_over(self) -> bool:
        """Whether at least one wait is pending, and none of them has ended."""
        return bool(self.pending) and not any(pending.done.done() for pending in self.pending.values())

    @property
    def for_messages(self) -> bool:
        """Whether any pending wait is for a message."""
        return any(pending.wait.channel is not None for pending in self.pending.values())

    @property
    def only_for_timers(self) -> bool:
        """Whether every pending wait ends by itself at some time."""
        return all(pending.wait.kind in (WaitKind.TIMER, WaitKind.RETRY) for pending in self.pending.values())

    # -- what earlier runs left open ------------------------------------------------------

    def left_open(self, step_id: str) -> OpenWait | None:
        """The wait that an earlier run left open for this step."""
        return self._open.get(step_id)

    def is_over(self, step_id: str) -> bool:
        """Whether an earlier run left a wait for this step whose time has come."""
        known = self._open.get(step_id)
        return known is not None and known.is_over

    def forget(self, step_id: str) -> None:
        """The step is recorded: its row is gone."""
        self._open.pop(step_id, None)

    def give_up(self, step_id: str) -> None:
        """The step was cancelled: should it have left a wait behind, it must not wake the instance."""
        known = self._open.pop(step_id, None)
        if known is not None or step_id not in self.abandoned:
            self.abandoned[step_id] = None if known is None else known.channel

    def give_up_under(self, prefix: str) -> None:
        """As :meth:`give_up`, for what earlier runs left behind under this prefix."""
        for step_id in [step_id for step_id in self._open if step_id.startswith(prefix)]:
            self.give_up(step_id)

    def silence_overdue(self) -> tuple[NewWait, ...]:
        """Waits whose time has come although nobody waits for them: they would wake a parked run for ever.

        Timers are given up, although this run still knows their time. The attempts of an
        activity have to stay: they are returned, to be registered without a time.
        """
        overdue = [wait for wait in self._open.values() if wait.is_over]
        for wait in overdue:
            if wait.kind is not WaitKind.RETRY and wait.activity_id not in self._silenced:
                self.abandoned[wait.activity_id] = wait.channel
                self._silenced.add(wait.activity_id)
        return tuple(
            NewWait(wait.activity_id, wait.kind, data=wait.data, replace=True)
            for wait in overdue
            if wait.kind is WaitKind.RETRY
        )
