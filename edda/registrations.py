"""Which compensations an instance has registered: as its history says, and as its run knows.

A registration stands in the row of the step that it belongs to: in that of its activity,
or in one of its own when the body registers it. So it is stored with that step or not at
all, at no further cost, and is there for whoever takes the instance over. A row of its
outcome, ``compensation_{id}``, ends it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

from edda.codec.json import dumps, loads_object
from edda.codec.values import Encoded
from edda.storage.records import HistoryRecord
from edda.types import WITHDRAWN, EventType, JSONObject, JSONValue

KEY = "compensations"
"""Under which the row of an activity holds its registrations."""

_STEP = re.compile(r"compensation_(\d+)(?:/|$)")
_OUTCOMES = (EventType.COMPENSATION_EXECUTED, EventType.COMPENSATION_FAILED)


@dataclass(frozen=True, slots=True)
class Registered:
    """One compensation: a number that is its own in the instance, its function by name, its arguments.

    ``target`` is the very function, as long as the process knows it that saw it registered.
    """

    compensation_id: int
    function: str
    activity_name: str
    call: Encoded
    target: Callable[..., Any] | None = field(default=None, compare=False, repr=False)

    @property
    def step_id(self) -> str:
        """The id of the step that executes it."""
        return f"compensation_{self.compensation_id}"

    def to_json(self) -> JSONObject:
        """As it stands in a row."""
        fields: JSONObject = {
            "compensation_id": self.compensation_id,
            "activity_name": self.activity_name,
            "function": self.function,
            **cast("JSONObject", self.call.json),
        }
        return {**fields, "types": self.call.types} if self.call.types else fields

    @classmethod
    def from_json(cls, fields: Mapping[str, Any], target: Callable[..., Any] | None = None) -> Registered:
        """The counterpart of :meth:`to_json`."""
        call = Encoded({"args": fields["args"], "kwargs": fields["kwargs"]}, fields.get("types"))
        return cls(fields["compensation_id"], fields["function"], fields["activity_name"], call, target)


@dataclass(frozen=True, slots=True)
class Cleared:
    """Registrations that are to be forgotten; with ``for_good`` whatever is registered, also later."""

    compensation_ids: tuple[int, ...]
    for_good: bool = False

    def to_json(self) -> JSONObject:
        """As it stands in a row."""
        return {"count": len(self.compensation_ids), "cleared": list(self.compensation_ids)}


Change: TypeAlias = Registered | Cleared


def is_inside_compensation(step_id: str) -> bool:
    """Whether this is the step of a compensation, or one inside it.

    >>> is_inside_compensation("compensation_7/refund:1"), is_inside_compensation("compensation_7:1")
    (True, False)
    """
    return _STEP.match(step_id) is not None


class Registrations:
    """What is registered and neither executed nor cleared, in the order of recording."""

    def __init__(self, history: Iterable[HistoryRecord] = ()) -> None:
        self._known: dict[int, Registered] = {}
        self._open: dict[int, Registered] = {}
        self._last = 0
        self._past_pivot = False
        self._cancelled = False
        self._must_look = False
        self.learn(history)

    def __bool__(self) -> bool:
        """Whether the history is to be asked what there is to compensate, or to tell."""
        return bool(self._open) or self._must_look

    @property
    def newest_first(self) -> list[Registered]:
        """What is to be compensated, in the order of doing so."""
        return list(self._open.values())[::-1]

    @property
    def ids(self) -> tuple[int, ...]:
        """Their numbers."""
        return tuple(self._open)

    def next_id(self) -> int:
        """A number that no compensation of the instance has."""
        self._last += 1
        return self._last

    def note(self, changes: Iterable[Change]) -> None:
        """These changes have been committed."""
        for change in changes:
            match change:
                case Registered(compensation_id):
                    self._last = max(self._last, compensation_id)
                    self._known[compensation_id] = change
                    if not self._past_pivot:
                        self._open[compensation_id] = change
                case Cleared(for_good=True):
                    self._past_pivot = True
                    self._open.clear()
                case Cleared(compensation_ids):
                    for compensation_id in compensation_ids:
                        self._open.pop(compensation_id, None)

    def note_record(self, record: HistoryRecord) -> None:
        """This row has been committed."""
        inside = _STEP.match(record.activity_id)
        if record.event_type is EventType.WORKFLOW_CANCELLED:
            self._cancelled = True
        elif inside is None:
            # A step that was under way when the request came: what it decided came too late.
            self.note(
                change
                for change in changes_in(record)
                if not (self._cancelled and isinstance(change, Cleared))
            )
        elif record.event_type in _OUTCOMES:
            failed = record.event_type is EventType.COMPENSATION_FAILED
            self.note_outcome(int(inside[1]), failed=failed)

    def note_outcome(self, compensation_id: int, *, failed: bool) -> None:
        """The outcome of this compensation has been committed."""
        self._last = max(self._last, compensation_id)
        self._open.pop(compensation_id, None)
        self._must_look |= failed

    def note_unknown(self) -> None:
        """A row was committed that this run does not know all about."""
        self._must_look = True

    def in_doubt(self, changes: Sequence[Change]) -> AbstractContextManager[None]:
        """These changes are being written: whoever is cancelled meanwhile does not learn if they were."""
        return self._looking_if_cancelled() if changes else nullcontext()

    @contextmanager
    def _looking_if_cancelled(self) -> Iterator[None]:
        try:
            yield
        except asyncio.CancelledError:
            self._must_look = True
            raise

    @property
    def must_look(self) -> bool:
        """Whether the history may know of more, or of failures."""
        return self._must_look

    def learn(self, history: Iterable[HistoryRecord]) -> None:
        """Take in a whole history; what is known of it already stays as it is."""
        for record in history:
            self.note_record(record)

    def find(self, compensation_id: int) -> Registered | None:
        """What was registered under this number, executed or not."""
        return self._known.get(compensation_id)


def changes_in(record: HistoryRecord) -> Sequence[Change]:
    """What the row of a step registers or clears."""
    match record.event_type:
        case EventType.COMPENSATION_REGISTERED | EventType.COMPENSATIONS_CLEARED | EventType.PIVOT_PASSED:
            fields = loads_object(record.event_data)
            for_good = record.event_type is EventType.PIVOT_PASSED
            return () if WITHDRAWN in fields else (_change(fields, for_good=for_good),)
        # Most activities register nothing: a look at the text is enough for those.
        case EventType.ACTIVITY_COMPLETED if f'"{KEY}":[' in record.event_data:
            return [_change(entry) for entry in loads_object(record.event_data).get(KEY, ())]
    return ()


def _change(entry: dict[str, Any], *, for_good: bool = False) -> Change:
    return Cleared(tuple(entry["cleared"]), for_good) if "cleared" in entry else Registered.from_json(entry)


def as_json(changes: Iterable[Change]) -> JSONValue:
    """The changes as the row of an activity holds them."""
    return [change.to_json() for change in changes]


def withdrawn(event_type: EventType, event_data: str) -> str:
    """The row without its registrations: the transaction they belong to was rolled back."""
    if event_type in (
        EventType.COMPENSATION_REGISTERED,
        EventType.COMPENSATIONS_CLEARED,
        EventType.PIVOT_PASSED,
    ):
        return dumps({**loads_object(event_data), WITHDRAWN: True})
    if event_type is EventType.ACTIVITY_COMPLETED and f'"{KEY}":[' in event_data:
        fields = loads_object(event_data)
        fields.pop(KEY, None)
        return dumps(fields)
    return event_data
