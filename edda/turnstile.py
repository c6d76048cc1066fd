"""In what order the outcomes of steps enter the body.

Ids are taken when an operation is called. Several branches of a body draw from the same
counters, so a replay gives the same ids only if the branches advance in the same order
as they did live. Therefore outcomes enter the body one at a time in the order of
recording, live and on replay, with time in between for the branch to reach its next call.

Between its place in that order and the body an outcome may be on its way for long: hooks
and post-commit callbacks of the user are called with it. Those behind it wait.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextvars import Context
from itertools import chain
from typing import Protocol
from weakref import ref

from edda.effects import may_begin

# Turns of the event loop that a branch gets to reach its next operation. A branch that
# hands its outcome through nested gathers and task groups needs about two per level.
_TURNS_ALONE = 1
_TURNS_CONCURRENT = 8
# A recorded step that nobody asks for within so many turns does not hold up the others:
# its caller is busy with something that is not durable, or was cancelled.
_TURNS_UNCLAIMED = 200
# So many outcomes in a row enter without a turn, or a long replay would keep the event loop to itself.
_AT_ONCE = 32
# Seconds after which steps that are held back are looked at again, the first time and at most.
_LOOK_AGAIN_FIRST, _LOOK_AGAIN_LAST = 0.05, 10.0


class HeldBack(Protocol):
    """A step that is not recorded, and may turn out to be none that the history allows."""

    turn: asyncio.Future[None]

    def judge(self, held: Sequence[HeldBack]) -> Iterable[HeldBack] | None:
        """Which of all that are held may begin now; None to be asked once more at once.

        Called when nobody has asked for the recorded steps that are left for long.
        """
        ...


class _Place:
    """A place in the order of the outcomes, taken before the outcome is there."""

    __slots__ = ("is_block", "is_kept", "is_void", "turn")

    def __init__(self, *, is_block: bool = False) -> None:
        self.is_block = is_block
        self.is_kept = False
        self.is_void = False
        self.turn: asyncio.Future[None] | None = None

    @property
    def is_over(self) -> bool:
        """Whether its outcome has entered, or does not come any more."""
        return self.is_void or (self.turn is not None and self.turn.done())


class Turnstile:
    """Lets the outcomes of a run into its body one at a time, in the order of recording."""

    def __init__(self, recorded: Iterable[str] = ()) -> None:
        self._unclaimed = dict.fromkeys(recorded)
        self._passed_over: set[str] = set()
        self._asking: dict[str, _Place] = {}
        self._late: dict[str, _Place] = {}  # they were passed over while nobody asked for them
        self._expected: dict[str, _Place] = {}
        self._live: deque[_Place] = deque()
        self._beyond: list[asyncio.Future[None]] = []
        self._patient = True
        self._held: list[HeldBack] = []
        self._held_for = 0
        self._rests = False
        self._rest = _LOOK_AGAIN_FIRST
        self._look_again: asyncio.TimerHandle | None = None
        # Weak, since the task leads back to its run: as in Run.stop, no cycles are left behind.
        self._first_task: ref[asyncio.Task[object]] | None = None
        self._concurrent = False
        self._last = ""
        self._pumping = False
        self._pause = 0
        self._stalled = 0
        self._at_once = 0
        self.when_idle: Callable[[], None] | None = None
        """Called when nobody waits here any more."""

    @property
    def holds_any(self) -> bool:
        """Whether operations wait here that are about to return, or to be performed."""
        return bool(self._asking or self._late or self._beyond or self._held)

    @property
    def has_unreached(self) -> bool:
        """Whether nobody has asked for some of the recorded steps yet."""
        return bool(self._unclaimed or self._passed_over)

    def unreached(self) -> Iterable[str]:
        """The recorded steps that nobody has asked for yet, those before others first."""
        return chain(self._passed_over, self._unclaimed)

    @property
    def is_concurrent(self) -> bool:
        """Whether several branches were seen at once."""
        return self._concurrent

    def note_caller(self) -> None:
        """Learn from the calling task whether several branches run at once."""
        task = asyncio.current_task()
        if self._first_task is None:
            self._first_task = None if task is None else ref(task)
        elif task is not self._first_task():
            self._concurrent = True

    # -- outcomes that are recorded ----------------------------------------------------------

    def claim(self, step_id: str, *, is_block: bool = False) -> None:
        """The outcome of this recorded step is on its way: those behind it wait for it.

        :meth:`pass_recorded` follows, and :meth:`leave` in any case. In a block of the body
        steps may be called that are not recorded, since they are none: they wait, but not for ever.
        """
        asking = self._asking if step_id in self._unclaimed else self._late
        asking[step_id] = _Place(is_block=is_block)

    async def pass_recorded(self, step_id: str) -> None:
        """Return when it is the turn of this recorded step."""
        if step_id not in self._asking and step_id not in self._late:
            self.claim(step_id)
        place = self._asking.get(step_id) or self._late[step_id]
        place.turn = asyncio.get_running_loop().create_future()
        self._pump_soon(_TURNS_CONCURRENT if self._concurrent else _TURNS_ALONE)
        try:
            await place.turn
        except asyncio.CancelledError:
            self.leave(step_id)
            raise
        self._last = step_id

    def admit_at_once(self, step_id: str) -> bool:
        """Let this recorded step in now if nothing could happen in the turns until then; for the body's task.

        It is the next one, and it alone asks, of the only branch that was ever seen. A branch that was made
        but has not come to its first call, or was woken, stands in the queue of the event loop. If
        that is empty, no code would run before the outcome enters: it may as well enter
        now. In an event loop whose queue cannot be seen it never does.
        """
        alone = len(self._asking) == 1 and not (self._late or self._beyond or self._held)
        if self._concurrent or self._pumping or not alone:
            return False
        if step_id not in self._asking or step_id != next(iter(self._unclaimed), None) or self._next_live():
            return False
        if self._at_once == _AT_ONCE or getattr(asyncio.get_running_loop(), "_ready", True):
            self._at_once = 0
            return False
        self._at_once += 1
        self._stalled = 0
        self._take_asking(step_id)
        self._last = step_id
        if self.when_idle is not None:
            self.when_idle()
        return True

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

    async def may_begin(self) -> None:
        """Return when the step that the caller performs may have effects; raises the signal if none."""
        if self.has_unreached:
            await may_begin()

    async def pass_unreached(self, step: HeldBack) -> None:
        """Return when every recorded step has returned, a judge lets this one begin, or at :meth:`let_go`."""
        self._held.append(step)
        self._held_for, self._rest = 0, _LOOK_AGAIN_FIRST
        self._pump_soon(_TURNS_ALONE)
        try:
            await step.turn
        finally:
            self._held.remove(step)
            if not self._held and self._look_again is not None:
                self._look_again.cancel()
                self._look_again = None

    def let_go(self) -> None:
        """Steps that are held back are told of what has happened to their run."""
        _admit(step.turn for step in self._held)

    def forget(self, prefix: str) -> None:
        """Nobody will ask for the recorded steps under this prefix any more."""
        for step_id in [step_id for step_id in self.unreached() if step_id.startswith(prefix)]:
            if step_id not in self._asking:
                self._unclaimed.pop(step_id, None)
                self._passed_over.discard(step_id)
        if self._held:
            self._pump_soon(0)

    # -- outcomes that are being recorded ----------------------------------------------------

    def expect(self, step_id: str) -> None:
        """The body performs this step: its outcome will :meth:`enter`; :meth:`leave` follows in any case."""
        self._expected[step_id] = _Place()

    def keep_place(self, step_id: str) -> None:
        """The outcome of this step is recorded now: those recorded later enter behind it."""
        place = self._expected.get(step_id)
        if place is not None and not place.is_kept:
            place.is_kept = True
            self._live.append(place)

    def give_place_back(self, step_id: str) -> None:
        """The outcome was not recorded after all; the step goes on."""
        if step_id in self._expected:
            self._void(self._expected[step_id])
            self._expected[step_id] = _Place()

    async def enter(self, step_id: str) -> str:
        """Return when the outcome may enter the body: when those before it have.

        Says which outcome was the last before it, "" if it is the first.
        """
        place = self._expected.get(step_id)
        if place is None or not place.is_kept:
            return self._last
        if self._concurrent:
            place.turn = asyncio.get_running_loop().create_future()
            self._pump_soon(0)
            await place.turn
        previous, self._last = self._last, step_id
        return previous

    def leave(self, step_id: str) -> None:
        """The outcome has entered, or does not come."""
        place = self._expected.pop(step_id, None)
        if place is not None:
            self._void(place)
        if self._take_asking(step_id) is not None:
            self._pump_soon(0)

    def _void(self, place: _Place) -> None:
        place.is_void = True
        # A step that nothing waits behind, as in a body without branches, costs no turn.
        if place.is_kept and self._is_busy():
            self._pump_soon(0)

    # -- whose turn it is --------------------------------------------------------------------

    def _pump_soon(self, pause: int) -> None:
        self._rests = False
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
        self._pumping = self._is_busy()
        if self._pumping:
            asyncio.get_running_loop().call_soon(self._pump)
        elif self.when_idle is not None:
            self.when_idle()

    def _is_busy(self) -> bool:
        if self._concurrent and self._pause:
            return True
        if self._asking or self._late:
            return not self._awaits_one_on_its_way() or self._beside_block()
        return bool(self._next_live() or self._keeps_back)

    def _admit_one(self) -> bool:
        if self._asking or self._late:
            return self._admit_beyond() if self._beside_block() else self._admit_recorded()
        turn = self._next_live()
        if turn is not None:
            turn.set_result(None)
            return True
        return self._keeps_back and self._admit_beyond()

    def _next_live(self) -> asyncio.Future[None] | None:
        """The outcome at the head of the queue, unless it is still on its way."""
        while self._live and self._live[0].is_over:
            self._live.popleft()
        return self._live[0].turn if self._live else None

    @property
    def _keeps_back(self) -> bool:
        return bool(self._beyond or (self._held and not self._rests))

    def _admit_beyond(self) -> bool:
        if not self._beyond:
            return self._admit_held()
        if self._unclaimed:
            self._stalled += 1
            if self._stalled < _TURNS_UNCLAIMED:
                return False
            self._patient = False
        beyond, self._beyond = self._beyond, []
        _admit(beyond)
        return True

    def _admit_held(self) -> bool:
        if not self.has_unreached:
            self.let_go()
            return True
        self._held_for += 1
        if self._held_for < _TURNS_UNCLAIMED:
            return False
        self._held_for = 0
        held = [step for step in self._held if not step.turn.done()]
        allowed = held[0].judge(held) if held else ()
        if allowed is None:
            return False
        self._rest_for_a_while()
        _admit(step.turn for step in allowed)
        return True

    def _rest_for_a_while(self) -> None:
        self._rests = True
        if self._look_again is not None:
            self._look_again.cancel()
        # In a context of its own: a timer of the run would mean that it gets on by itself.
        self._look_again = asyncio.get_running_loop().call_later(
            self._rest, self._pump_soon, 0, context=Context()
        )
        self._rest = min(self._rest * 2, _LOOK_AGAIN_LAST)

    def _awaits_one_on_its_way(self) -> bool:
        first = self._first_asking()
        return first is not None and first[1].turn is None

    def _beside_block(self) -> bool:
        """Whether a block that is replayed may wait for a step that waits for the end of the replay."""
        first = self._first_asking()
        return self._keeps_back and first is not None and first[1].is_block and first[1].turn is None

    def _admit_recorded(self) -> bool:
        first = self._first_asking() or self._without_unclaimed()
        if first is None:
            return False
        step_id, place = first
        if place.turn is None:
            return False
        self._stalled = self._held_for = 0
        self._take_asking(step_id)
        if place.is_over:
            return False
        place.turn.set_result(None)
        return True

    def _first_asking(self) -> tuple[str, _Place] | None:
        """The outcome whose turn it is, on its way or there; None while nobody has asked for it."""
        for step_id, place in self._late.items():
            if place.turn is not None:
                return step_id, place
        head = next(iter(self._unclaimed), "")
        if head in self._asking:
            return head, self._asking[head]
        return None if self._asking else next(iter(self._late.items()))

    def _without_unclaimed(self) -> tuple[str, _Place] | None:
        """The same, after nobody has asked for so long that nobody is going to."""
        self._stalled += 1
        if self._stalled < _TURNS_UNCLAIMED:
            return None
        while (head := next(iter(self._unclaimed))) not in self._asking:
            del self._unclaimed[head]
            self._passed_over.add(head)
        return head, self._asking[head]

    def _take_asking(self, step_id: str) -> _Place | None:
        self._unclaimed.pop(step_id, None)
        self._passed_over.discard(step_id)
        return self._asking.pop(step_id, None) or self._late.pop(step_id, None)


def _admit(turns: Iterable[asyncio.Future[None]]) -> None:
    for turn in turns:
        if not turn.done():
            turn.set_result(None)
