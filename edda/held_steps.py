"""Steps that are not recorded, while the body has not reached all that is.

Live, the body reached every recorded step without the outcome of one that is not recorded. So such a
step can be held back until all recorded ones are reached: for a body that fits it only takes longer.
In a body that does not fit, the recorded step is never reached, and what is held back is never
performed. That is an error as soon as it is certain that nothing else can get the body on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Any, cast

from edda.blocked_tasks import has_timers, wait_for_each_other, waiting_for
from edda.clock import monotonic
from edda.codec.json import loads_object
from edda.exceptions import NonDeterminismError
from edda.journal import GIVEN_UP
from edda.registrations import is_inside_compensation
from edda.run import Run
from edda.storage.records import HistoryRecord
from edda.turnstile import HeldBack

logger = logging.getLogger(__name__)

GIVEN_UP_AT_MOST = 20
"""So many steps that the body has cancelled, the last ones, are named by the rows after them."""

# The rows that end an instance.
ENDS = frozenset({"workflow_failed", "workflow_cancelled"})

# Seconds after which the log says that a step is held back; from then on twice as long each time.
_WARN_AFTER = 10.0


class HeldStep:
    """The gate of one step that is not recorded."""

    def __init__(
        self, run: Run, step_id: str, attempted: str, place: str, branches: Sequence[str] = ()
    ) -> None:
        self.step_id = step_id
        self._branches = branches
        self.turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._run = run
        self._attempted = attempted
        self._place = place
        self._is_over = False
        self.unreached: list[HistoryRecord] = []
        self._warn_at = monotonic() + _WARN_AFTER
        self._warned = _WARN_AFTER
        self._seen: dict[asyncio.Task[Any], asyncio.Future[Any]] | None = None

    async def passed(self) -> None:
        """Return when the step may have effects; raises the signal if the run ends instead."""
        if self._is_over:
            return
        run = self._run
        if run.turnstile.has_unreached and self._unreached():
            await run.turnstile.pass_unreached(self)
            self._seen = None
            await run.check()
            await run.check_cancelled()
        self._is_over = True
        run.journal.replaying = False

    def judge(self, held: Sequence[HeldBack]) -> Iterable[HeldBack] | None:
        """Which of the steps that are held may begin; stops the run if its code does not fit."""
        steps = cast("Sequence[HeldStep]", held)
        for step in steps:
            step.unreached = step._unreached()  # noqa: SLF001 - of the same class
        if allowed := [step for step in steps if not step.unreached]:
            return allowed
        try:
            return self._decide(steps)
        except Exception:  # it looks into asyncio: whatever it finds there, what is not certain is held
            logger.exception("Error of edda in %s", self._run.instance_id)
            return ()

    def _unreached(self) -> list[HistoryRecord]:
        """The recorded steps that a body that fits is still going to reach without this one.

        The branches of a race do not wait for each other: the end of one may spare the others.
        """
        journal = self._run.journal
        rows = (
            journal.recorded(step_id)
            for step_id in self._run.turnstile.unreached()
            if journal.is_awaited(step_id) and step_id not in ENDS and not is_inside_compensation(step_id)
        )
        return [row for row in rows if row is not None and not self._is_beside(row.activity_id)]

    def _is_beside(self, step_id: str) -> bool:
        """Whether that step is in another branch of a race in which this one is."""
        races = ((branch, branch[:-1].rpartition("/")[0]) for branch in self._branches)
        return any(step_id.startswith(f"{race}/") and not step_id.startswith(mine) for mine, race in races)

    def _decide(self, held: Sequence[HeldStep]) -> Sequence[HeldStep] | None:
        certain = self._is_certain(held)
        if certain is None:
            return None
        if not certain:
            self._warn()
            return ()
        if given_up := [step for step in held if step.may_be_given_up]:
            return given_up  # somebody who is not seen here has cancelled them, and will again
        new = [step for step in held if self._run.waits.left_open(step.step_id) is None]
        self._run.stop((new or held)[0]._error())  # noqa: SLF001 - of the same class
        return ()

    @property
    def may_be_given_up(self) -> bool:
        """Whether the body has cancelled this step before, as far as the rows know."""
        return any(_may_name(row, self.step_id) for row in self.unreached)

    def _is_certain(self, held: Sequence[HeldStep]) -> bool | None:
        """Whether nothing but the held steps can get the body on; None: so it seems, look once more.

        Between the end of a task and what follows from it lie some turns, in which
        nobody seems to move: so all has to be the same twice.
        """
        tasks = self._run.tasks
        waiting = waiting_for(tasks.alive())
        seen, self._seen = self._seen, None
        turns = {step.turn: step for step in held}
        if waiting is None or self._may_get_on_in_time(waiting, turns):
            return False
        # Nor does what is recorded depend on waits that are not over, as those of another branch of a race.
        waits = (pending.done for pending in self._run.waits.pending.values())
        if not wait_for_each_other(waiting, {*turns, *tasks.held, *waits}, tasks.owns):
            return False
        if seen == waiting:
            return True
        self._seen = waiting
        return None

    def _may_get_on_in_time(
        self,
        waiting: dict[asyncio.Task[Any], asyncio.Future[Any]],
        turns: dict[asyncio.Future[None], HeldStep],
    ) -> bool:
        """Whether a timer may get the body on.

        Rows name the steps that the body's own task has cancelled before them. What is not
        named was not cancelled when the row was recorded, so its timeouts do not count.
        """
        tasks = self._run.tasks
        step = next((turns.get(waiter) for task, waiter in waiting.items() if task is tasks.body), None)
        not_timed_out = step is not None and any(
            "/" not in row.activity_id and not _may_name(row, step.step_id) for row in step.unreached
        )
        timers = has_timers(
            asyncio.get_running_loop(), tasks.owns, but_timeouts_of=tasks.body if not_timed_out else None
        )
        if timers is None:  # then only for a body without branches, whose rows say what it cancelled
            return not (not_timed_out and len(waiting) == 1)
        return timers

    def _warn(self) -> None:
        if monotonic() < self._warn_at:
            return
        self._warned *= 2
        self._warn_at = monotonic() + self._warned
        run = self._run
        logger.warning(
            "Step %r of %s (%s at %s) is held back: it is not recorded, and the workflow has not reached "
            "step %r, which is. Something that the workflow waits for may still lead there. If its code was "
            "changed, deploy the matching code",
            self.step_id,
            run.instance_id,
            self._attempted,
            self._place,
            self.unreached[0].activity_id,
            extra={"instance_id": run.instance_id},
        )

    def _error(self) -> NonDeterminismError:
        run, unreached = self._run, self.unreached[0]
        return NonDeterminismError(
            f"Workflow {run.workflow_name!r} does not match the history of instance {run.instance_id}: "
            f"step {unreached.activity_id!r} is recorded as {unreached.event_type} "
            f"{unreached.event_data[:200]} and was not reached, but the code attempts {self._attempted} "
            f"as new step {self.step_id!r} at {self._place}. "
            "The instance is set aside, not failed; it goes on when the matching code is deployed."
        )


def _may_name(row: HistoryRecord, step_id: str) -> bool:
    """Whether the body has cancelled this step before that row was recorded, as far as the row knows."""
    if GIVEN_UP not in row.event_data:
        return False
    named = loads_object(row.event_data).get(GIVEN_UP, ())
    return step_id in named or len(named) > GIVEN_UP_AT_MOST
