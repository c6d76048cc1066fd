"""The recorded steps of one run: which ids exist, and in what order their outcomes return.

Ids are taken when an operation is called. Several branches of a body draw from the same
counters, so a replay gives the same ids only if the branches advance in the same order
as they did live. Therefore outcomes re-enter the body one at a time in the order of
recording, live and on replay, with time in between for the branch to reach its next call.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence

from edda.storage.records import HistoryRecord

# Turns of the event loop that a branch gets to reach its next operation. A branch that
# hands its outcome through nested gathers and task groups needs about two per level.
_TURNS_ALONE = 1
_TURNS_CONCURRENT = 8
# A recorded step that nobody asks for within so many turns does not hold up the others:
# its caller is busy with something that is not durable, or was cancelled.
_TURNS_UNCLAIMED = 200


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

    def leftovers(self) -> list[HistoryRecord]:
        """Recorded steps that the body has not called, in the order of recording."""
        return [
            record
            for record in self.own_steps()
            if record.activity_id not in self.called and not record.activity_id.startswith(self._excused)
        ]

    def own_steps(self) -> list[HistoryRecord]:
        """The recorded steps of the body; those inside an activity are the activity's affair."""
        return [record for step_id, record in self._recorded.items() if not self._is_inside_another(step_id)]

    def _is_inside_another(self, step_id: str) -> bool:
        outer, slash, _ = step_id.rpartition("/")
        return bool(slash) and (outer in self._recorded or outer in self.called)

    def add(self, record: HistoryRecord) -> None:
        """Remember a step that was recorded during this run, for a second look in the same run."""
        self._recorded[record.activity_id] = record


class Turnstile:
    """Lets the outcomes of a run into its body one at a time, in the order of recording."""

    def __init__(self, recorded: Iterable[str] = ()) -> None:
        self._unclaimed = dict.fromkeys(recorded)
        self._asking: dict[str, asyncio.Future[None]] = {}
        self._live: deque[asyncio.Future[None]] = deque()
        self._beyond: list[asyncio.Future[None]] = []
        self._patient = True
        self._first_task: asyncio.Task[object] | None = None
        self._concurrent = False
        self._pumping = False
        self._pause = 0
        self._stalled = 0

    def note_caller(self) -> None:
        """Learn from the calling task whether several branches run at once."""
        task = asyncio.current_task()
        if self._first_task is None:
            self._first_task = task
        elif task is not self._first_task:
            self._concurrent = True

    async def pass_recorded(self, step_id: str) -> None:
        """Return when it is the turn of this recorded step."""
        turn = asyncio.get_running_loop().create_future()
        self._asking[step_id] = turn
        self._concurrent = self._concurrent or len(self._asking) > 1
        self._pump_soon(_TURNS_CONCURRENT if self._concurrent else _TURNS_ALONE)
        try:
            await turn
        except asyncio.CancelledError:
            self._asking.pop(step_id, None)
            self._unclaimed.pop(step_id, None)
            raise

    async def pass_unrecorded(self) -> None:
        """Return when every recorded step has returned, or nobody asks for those that are left.

        So a step that is not recorded is not begun only to be cancelled by what a
        recorded one is about to decide.
        """
        if not self._unclaimed or not self._patient:
            return
        turn = asyncio.get_running_loop().create_future()
        self._beyond.append(turn)
        self._pump_soon(_TURNS_ALONE)
        await turn

    def forget(self, prefix: str) -> None:
        """Nobody will ask for the recorded steps under this prefix any more."""
        for step_id in [step_id for step_id in self._unclaimed if step_id.startswith(prefix)]:
            if step_id not in self._asking:
                del self._unclaimed[step_id]

    async def pass_live(self) -> None:
        """Return when an outcome that was just recorded may enter the body."""
        if not self._concurrent:
            return
        turn = asyncio.get_running_loop().create_future()
        self._live.append(turn)
        self._pump_soon(0)
        await turn

    def _pump_soon(self, pause: int) -> None:
        if self._pumping:
            return
        self._pumping = True
        self._pause = max(self._pause, pause)
        asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        if self._pause > 0:
            self._pause -= 1
        elif self._admit_one():
            self._pause = _TURNS_CONCURRENT if self._concurrent else _TURNS_ALONE
        self._pumping = bool(self._asking or self._live or self._beyond or (self._concurrent and self._pause))
        if self._pumping:
            asyncio.get_running_loop().call_soon(self._pump)

    def _admit_one(self) -> bool:
        if self._asking:
            return self._admit_recorded()
        while self._live:
            turn = self._live.popleft()
            if not turn.done():
                turn.set_result(None)
                return True
        return bool(self._beyond) and self._admit_beyond()

    def _admit_beyond(self) -> bool:
        if self._unclaimed:
            self._stalled += 1
            if self._stalled < _TURNS_UNCLAIMED:
                return False
            self._patient = False
        beyond, self._beyond = self._beyond, []
        for turn in beyond:
            if not turn.done():
                turn.set_result(None)
        return True

    def _admit_recorded(self) -> bool:
        step_id = self._next_recorded()
        if step_id is None:
            return False
        self._stalled = 0
        self._unclaimed.pop(step_id, None)
        turn = self._asking.pop(step_id)
        if turn.done():
            return False
        turn.set_result(None)
        return True

    def _next_recorded(self) -> str | None:
        for step_id in self._asking:
            if step_id not in self._unclaimed:  # it was passed over while nobody asked for it
                return step_id
        head = next(iter(self._unclaimed))
        if head in self._asking:
            return head
        self._stalled += 1
        if self._stalled < _TURNS_UNCLAIMED:
            return None
        while (head := next(iter(self._unclaimed))) not in self._asking:
            del self._unclaimed[head]
        return head
