"""The recorded steps of one run: which ids exist, and which of them the body has called."""

from __future__ import annotations

from collections.abc import Sequence

from edda.clock import now
from edda.codec.json import loads_object
from edda.storage.records import HistoryRecord
from edda.storage.writes import StepRecorded
from edda.types import EventType, JSONObject

ENTERED_AFTER = "after"
"""Under which the row of a step in a block names the step whose outcome the body saw before, "" for none."""

GIVEN_UP = "given_up_before"
"""Under which the row of a step names those that the body cancelled before it, so that they have no row."""

_BLOCKS = (EventType.TRANSACTION_COMMITTED, EventType.TRANSACTION_ROLLED_BACK)


class StepIds:
    """Automatic and given ids of steps, one counter for each base name."""

    def __init__(self, prefix: str = "", called: set[str] | None = None) -> None:
        self._prefix = prefix
        self._counters: dict[str, int] = {}
        self._drawn: dict[str, int] = {}
        self.called: set[str] = set() if called is None else called

    def take(self, base: str) -> str:
        """The next automatic id ``{base}:{n}``, passing over ids that were given by hand."""
        number = self._counters.get(base, 0) + 1
        while (step_id := f"{self._prefix}{base}:{number}") in self.called:
            number += 1
        self._counters[base] = number
        self.called.add(step_id)
        return step_id

    def prefixed(self, given: str) -> str:
        """An id chosen by the user, as it is recorded: steps of an activity have its prefix."""
        return f"{self._prefix}{given}"

    def take_given(self, step_id: str) -> bool:
        """Mark an id chosen by the user as called; False if it was called before."""
        if step_id in self.called:
            return False
        self.called.add(step_id)
        return True

    def draw(self, kind: str) -> str:
        """The name of the next value of a kind that is derived from its place, and not recorded."""
        self._drawn[kind] = number = self._drawn.get(kind, 0) + 1
        return f"{self._prefix}{kind}:{number}"


class Journal(StepIds):
    """The steps of a run by id: recorded ones, and those the body has called."""

    def __init__(self, history: Sequence[HistoryRecord] = ()) -> None:
        super().__init__()
        self._recorded = {record.activity_id: record for record in history}
        self._excused: tuple[str, ...] = ()
        self.given_up: list[str] = []
        self.branches: set[str] = set()
        """The prefixes of the branches of races that have begun."""
        self.replayed_races: set[str] = set()
        """Races whose winner is recorded, and which have begun and are not over."""
        self.replaying = bool(history)

    def recorded(self, step_id: str) -> HistoryRecord | None:
        """What is recorded for the step."""
        return self._recorded.get(step_id)

    def find(self, step_id: str) -> HistoryRecord | None:
        """What is recorded for the step; the first one not recorded ends the replay."""
        record = self._recorded.get(step_id)
        if record is None:
            self.replaying = False
        return record

    def excuse(self, prefix: str) -> None:
        """Steps under this prefix may be recorded although this run does not reach them."""
        self._excused = (*self._excused, prefix)

    def is_awaited(self, step_id: str) -> bool:
        """Whether a body that fits has yet to reach this recorded step.

        Not if it is called, and be it that it is never performed, nor if only another step
        reaches it: one of an activity, or of what follows a block. A race is reached at its end.
        """
        if step_id in self.called:
            return step_id in self.replayed_races
        if step_id.startswith(self._excused):
            return False
        outer = step_id.rpartition("/")[0]
        while outer:
            if f"{outer}/" in self.branches:
                outer = outer.rpartition("/")[0]  # its race, which is there for its branches
            elif outer in self.called or outer in self._recorded:
                return False
            outer = outer.rpartition("/")[0]
        return True

    def leftovers(self) -> list[HistoryRecord]:
        """Recorded steps that the body has not called, in the order of recording."""
        return [
            record
            for record in self.own_steps()
            if record.activity_id not in self.called and not record.activity_id.startswith(self._excused)
        ]

    def with_given_up(self, step_id: str, event_data: JSONObject) -> JSONObject:
        """The row of a step of the body, naming the steps that were cancelled before it."""
        if not self.given_up or "/" in step_id:
            return event_data
        return {**event_data, GIVEN_UP: [*self.given_up]}

    def own_steps(self) -> list[HistoryRecord]:
        """The recorded steps of the body; those inside an activity are the activity's affair."""
        return [record for step_id, record in self._recorded.items() if not self._is_inside_another(step_id)]

    def _is_inside_another(self, step_id: str) -> bool:
        outer, slash, _ = step_id.rpartition("/")
        if not slash:
            return False
        record = self._recorded.get(outer)
        if record is None:
            return outer in self.called
        # What happens in a transaction block is seen by the body.
        return record.event_type not in _BLOCKS or self._is_inside_another(outer)

    def in_order_of_entry(self) -> list[str]:
        """The recorded steps of the body in the order in which their outcomes entered it.

        That is the order of recording, but for steps in a block: the body saw them before
        the commit. Beside other branches their rows say after which other one.
        """
        own = {record.activity_id: _entered_after(record) for record in self.own_steps()}
        following: dict[str, list[str]] = {}
        for step_id, previous in own.items():
            if previous is not None and (previous in own or not previous):
                following.setdefault(previous, []).append(step_id)
        moved = {step_id for steps in following.values() for step_id in steps}
        waiting = [*following.pop("", ()), *(step_id for step_id in own if step_id not in moved)][::-1]
        order = []
        while waiting:
            order.append(step_id := waiting.pop())
            waiting.extend(reversed(following.pop(step_id, ())))
        return order

    def note_recorded(self, step: StepRecorded) -> None:
        """Remember a step inside an activity: the next attempt in this very run asks for it again."""
        step_id = step.activity_id
        if "/" in step_id:
            instance_id = step.lease.instance_id
            record = HistoryRecord(0, instance_id, step_id, step.event_type, step.event_data, now())
            self._recorded[step_id] = record


def _entered_after(record: HistoryRecord) -> str | None:
    if "/" not in record.activity_id or f'"{ENTERED_AFTER}"' not in record.event_data:
        return None
    previous = loads_object(record.event_data).get(ENTERED_AFTER)
    return previous if isinstance(previous, str) else None
