"""Durable timers: a workflow that sleeps holds no lease and survives every restart."""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any

from edda.clock import now
from edda.context import WorkflowContext
from edda.run import Run
from edda.steps import StepCall, call_step, check_may_wait, perform
from edda.storage.records import HistoryRecord
from edda.storage.writes import NewWait
from edda.types import EventType, JSONObject, WaitKind, is_number
from edda.unit_of_work import current_unit


class _TimerStep:
    """The operation behind ``sleep`` and ``sleep_until``."""

    def __init__(self, step_id: str, *, base: str, seconds: float | None, at: datetime | None) -> None:
        self._step_id = step_id
        self._base = base
        self._seconds = seconds
        self._at = at

    def describe(self) -> str:
        return f"{self._base} {self._step_id!r}"

    def matches(self, record: HistoryRecord) -> bool:
        return record.event_type is EventType.TIMER_EXPIRED

    async def restore(self, run: Run, record: HistoryRecord) -> None:
        """A timer that has expired is over at once."""

    async def perform(self, run: Run) -> None:
        waits = self._at is not None or (self._seconds or 0) > 0
        # Inside an activity a wait that is over already costs no attempt.
        is_over = current_unit() is not None and run.waits.is_over(self._step_id)
        if waits and not is_over:
            check_may_wait(run, self)
            await run.wait(NewWait(self._step_id, WaitKind.TIMER, seconds=self._seconds, at=self._at))
        expired: JSONObject = {
            "result": None,
            "timer_id": self._step_id,
            "expires_at": now().isoformat(),
        }
        await run.record(run.step(self._step_id, EventType.TIMER_EXPIRED, expired, ends_wait=waits))


def sleep(ctx: WorkflowContext, seconds: float, timer_id: str | None = None) -> Coroutine[Any, Any, None]:
    """Go on after this many seconds, however often the process dies in between.

    The due time is fixed when the timer is first reached, by the clock of the database.
    Zero or less is over at once. ``timer_id`` replaces the automatic id ``sleep:{n}``;
    one id used twice raises ``ValueError``.

    ::

        await sleep(ctx, 60)
    """
    if not is_number(seconds):
        raise TypeError(f"seconds must be a number, not {seconds!r}")
    return _sleep(ctx, call_step(ctx.run, "sleep", timer_id), "sleep", float(seconds), None)


def sleep_until(
    ctx: WorkflowContext, target_time: datetime, timer_id: str | None = None
) -> Coroutine[Any, Any, None]:
    """Go on at this instant, given as an aware ``datetime`` of any zone.

    A time that has passed is over at once. A naive ``datetime`` raises ``ValueError``.
    ``timer_id`` replaces the automatic id ``sleep_until:{n}``.

    ::

        await sleep_until(ctx, datetime(2030, 1, 1, 9, tzinfo=UTC))
    """
    if target_time.tzinfo is None or target_time.utcoffset() is None:
        raise ValueError("target_time must be timezone-aware")
    call = call_step(ctx.run, "sleep_until", timer_id)
    return _sleep(ctx, call, "sleep_until", None, target_time.astimezone(UTC))


async def _sleep(
    ctx: WorkflowContext, call: StepCall, base: str, seconds: float | None, at: datetime | None
) -> None:
    await perform(ctx.run, call, _TimerStep(call.step_id, base=base, seconds=seconds, at=at))


wait_timer = sleep
wait_until = sleep_until
