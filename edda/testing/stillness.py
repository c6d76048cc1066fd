"""Telling when nothing happens any more in an app until some time comes, or somebody does something."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from edda.attempts import PARK_FROM_SECONDS
from edda.clock import monotonic
from edda.execution import Execution
from edda.replay import ReplayEngine
from edda.run import Run
from edda.testing.inspecting import Inspector
from edda.testing.movable_clock import MovableClock
from edda.testing.twin import TwinApp
from edda.types import Status, WaitKind

# Turns of the event loop after which an answer of the database has reached whoever acts on it.
_TURNS = 20
_FIRST_PAUSE, _LONGEST_PAUSE = 0.001, 0.02
# Due times are compared in microseconds.
JUST_AFTER = 0.001


class Stillness:
    """Watches one app; ``patience`` is in seconds of real time."""

    def __init__(self, app: TwinApp, clock: MovableClock, patience: float) -> None:
        self._app = app
        self._clock = clock
        self._patience = patience

    @property
    def _engine(self) -> ReplayEngine:
        engine = self._app.replay_engine
        if engine is None:
            raise RuntimeError("the test environment is not open: use it as an async context manager")
        return engine

    async def wait_until_still(self) -> None:
        """Return when every instance has ended or waits; ``TimeoutError`` when that takes too long."""
        deadline, pause = time.monotonic() + self._patience, _FIRST_PAUSE
        while True:
            if await self._is_still():
                due = await self._parked_back_off()
                if due is None:
                    return
                self._clock.jump(due + JUST_AFTER)
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"Still busy after {self._patience:g} seconds of real time: {self._who_is_busy()}"
                )
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    async def seconds_until_due(self) -> float | None:
        """Seconds until something becomes due by itself, None: never; to be asked when all is still."""
        storage, names = self._app.storage, self._engine.workflow_names()
        dues = [await storage.seconds_until_due(names)]
        if self._app.outbox_relayer is not None:
            dues.append(await storage.seconds_until_outbox_due())
        return min((due for due in dues if due is not None), default=None)

    async def _parked_back_off(self) -> float | None:
        """Seconds until the next due time if a short back-off ends then: a resumed run parks in it."""
        due = await self.seconds_until_due()
        if due is None or due >= PARK_FROM_SECONDS:
            return None
        for status in (Status.WAITING_FOR_TIMER, Status.COMPENSATING):
            for instance in await Inspector(self._app).instances(status=status.value):
                for wait in await self._app.storage.load_waits(instance["instance_id"]):
                    left = wait.remaining
                    if wait.kind is WaitKind.RETRY and left is not None and left <= due + JUST_AFTER:
                        return due
        return None

    async def _is_still(self) -> bool:
        before = self._app.storage.submitted
        if not await self._rests():
            return False
        due = await self.seconds_until_due()
        # What was claimed meanwhile is not due any more: it shows in the writes, and then in the runs.
        return (due is None or due > 0) and await self._rests() and self._app.storage.submitted == before

    async def _rests(self) -> bool:
        for _ in range(_TURNS):
            storage = self._app.storage
            if self._engine._tasks or storage.submitted != storage.answered:
                return False
            await asyncio.sleep(0)
        return True

    def _who_is_busy(self) -> str:
        runs = [execution.run for execution in self._engine._running.values()]
        busy = [f"{run.workflow_name} ({run.instance_id}) in {_steps_of(run)}" for run in runs]
        return "; ".join(busy) or "the app itself"

    # -- short back-offs --------------------------------------------------------------------

    async def skip_back_offs(self) -> None:
        """For ever: jump over the short back-offs that runs wait out in memory, when nothing else goes on."""
        while True:
            await self._clock.someone_waits.wait()
            self._clock.someone_waits.clear()
            while self._has_held():
                if await self._only_holds():
                    await self._jump_over()
                else:
                    await asyncio.sleep(_FIRST_PAUSE)

    def _executions(self) -> list[Execution]:
        engine = self._app.replay_engine
        return [] if engine is None else list(engine._running.values())

    def _has_held(self) -> bool:
        return any(_next_held(execution.run) is not None for execution in self._executions())

    async def _only_holds(self) -> bool:
        for _ in range(_TURNS):
            storage = self._app.storage
            asleep = all(_is_asleep(execution.run) for execution in self._executions())
            if not asleep or storage.submitted != storage.answered:
                return False
            await asyncio.sleep(0)
        return self._has_held()

    async def _jump_over(self) -> None:
        """To the end of the first of them, in steps over which leases can be kept."""
        leases = self._engine.leases
        await leases.renew()
        ends = [end for execution in self._executions() if (end := _next_held(execution.run)) is not None]
        if ends:
            left = min(ends) - monotonic() + JUST_AFTER
            self._clock.jump(min(max(left, 0.0), leases.shortest(left) / 2))


def _next_held(run: Run) -> float | None:
    """When the first back-off of this run ends."""
    dues = (pending.due for pending in run.waits.pending.values() if pending.held and not pending.is_over)
    return min((due for due in dues if due is not None), default=None)


def _is_asleep(run: Run) -> bool:
    """Whether nothing goes on in this run but back-offs: each holds its step, and the steps around that."""
    held = [step for step, pending in run.waits.pending.items() if pending.held and not pending.is_over]
    return not run.turnstile.holds_any and run.in_flight == len(_with_outer(held))


def _with_outer(steps: Iterable[str]) -> set[str]:
    """These steps, and those that they are steps of: ``a:1/b:1`` is one of ``a:1``."""
    found: set[str] = set()
    for step in steps:
        parts = step.split("/")
        found.update("/".join(parts[: count + 1]) for count in range(len(parts)))
    return found


def _steps_of(run: Run) -> str:
    called = [step for step in run.journal.called if run.journal.recorded(step) is None]
    return ", ".join(sorted(called)) or "its body"
