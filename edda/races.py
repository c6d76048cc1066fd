"""The first of several durable operations: the winner is recorded, the losers are cancelled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from edda.branches import Branch
from edda.codec.json import loads
from edda.concurrency import Together, close_unstarted, error_of
from edda.context import WorkflowContext
from edda.exceptions import WorkflowSignal
from edda.refusal import retrieve_signal
from edda.run import Run
from edda.scope import activity_scope
from edda.steps import StepCall, call_step, perform
from edda.storage.records import HistoryRecord
from edda.types import EventType, JSONObject

logger = logging.getLogger(__name__)

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

# Turns of the event loop in which a cancellation reaches the tasks below a loser.
_TURNS_TO_CANCEL = 50


@dataclass(frozen=True, slots=True)
class RaceResult(Generic[T_co]):
    """Which branch of a race won, and what it returned; ``name`` is None for one without a name."""

    index: int
    name: str | None
    value: T_co


def race(
    ctx: WorkflowContext, /, *branches: Awaitable[T], **named: Awaitable[T]
) -> Coroutine[Any, Any, RaceResult[T]]:
    """The first of several durable operations to end; the others are cancelled.

    Branches are activities, timers, or coroutines of several steps. The winner is
    recorded as the step ``race:{n}``, and a replay has the same winner. An error of the
    winner is raised. ``index`` counts the branches without a name first.

    A loser sees ``asyncio.CancelledError``; what it does then (``finally:``) is still
    done before the race ends. Its activity in flight is not recorded, its waits wake
    nobody. Steps that are called inside a branch are numbered under it,
    ``race:1/payment/charge:1``, so that a loser never shifts the ids of later steps.
    Inside an activity a race is no step of its own.

    Raises ``ValueError`` without any branch, and for a name that is a number or has a slash.

    ::

        first = await race(ctx, paid=wait_for_payment(ctx, order), late=sleep(ctx, 3600))
        if first.name == "late":
            await cancel_order(ctx, order)
    """
    entries = [_Entry(str(index), None, branch) for index, branch in enumerate(branches)]
    entries += [_Entry(name, name, branch) for name, branch in named.items()]
    labels = {entry.label for entry in entries}
    if not entries or len(labels) < len(entries) or any("/" in label for label in labels):
        close_unstarted(entry.awaitable for entry in entries)
        raise ValueError("a race needs at least one branch, and names that are not numbers and have no slash")
    call = None if activity_scope(ctx.run) else call_step(ctx.run, "race")
    return Together(_Race(ctx.run, call, entries).decide(), [*branches, *named.values()])


@dataclass(frozen=True, slots=True)
class _Entry:
    """A branch before the race: its name in ids and in the record, and what it awaits."""

    label: str
    name: str | None
    awaitable: Awaitable[Any]


class _RaceStep:
    """The operation that records the winner, and knows it again."""

    def __init__(self, run: Run, step_id: str, labels: list[str]) -> None:
        self._step_id = step_id
        self._labels = labels
        record = run.journal.recorded(step_id)
        self.recorded = record is not None
        self.expected = None if record is None else self._winner_of(record)
        self.winner = 0

    def _winner_of(self, record: HistoryRecord) -> int | None:
        fields = loads(record.event_data) if record.event_type is EventType.RACE_WON else None
        label = fields.get("winner") if isinstance(fields, dict) else None
        return next((index for index, known in enumerate(self._labels) if known == label), None)

    def describe(self) -> str:
        return f"race {self._step_id!r} of {', '.join(self._labels)}"

    def matches(self, record: HistoryRecord) -> bool:
        return self._winner_of(record) == self.winner

    async def restore(self, run: Run, record: HistoryRecord) -> None:
        """The winner has replayed its own steps; there is nothing to restore."""

    async def perform(self, run: Run) -> None:
        won: JSONObject = {"winner": self._labels[self.winner], "index": self.winner}
        await run.record(run.step(self._step_id, EventType.RACE_WON, won))


class _Race:
    """The branches of one race as tasks."""

    def __init__(self, run: Run, call: StepCall | None, entries: list[_Entry]) -> None:
        self._run = run
        self._call = call
        self._entries = entries
        self._branches: list[Branch] = []
        self._tasks: list[asyncio.Task[Any]] = []

    async def decide(self) -> RaceResult[Any]:
        run, call = self._run, self._call
        if call is None:
            winner = await self._run_branches(None)
        else:
            step = _RaceStep(run, call.step_id, [entry.label for entry in self._entries])
            if step.recorded and step.expected is None:
                close_unstarted(entry.awaitable for entry in self._entries)
            else:
                run.turnstile.note_caller()
                step.winner = await self._replay(call, step.expected)
            # Losers have ended before their race is recorded, so that whatever is
            # recorded of them precedes it.
            await perform(run, call, step)
            winner = step.winner
        return RaceResult(winner, self._entries[winner].name, self._tasks[winner].result())

    async def _replay(self, call: StepCall, expected: int | None) -> int:
        """As :meth:`_run_branches`; that a recorded race is not over keeps steps back that are new."""
        if expected is None:
            return await self._run_branches(None)
        replayed = self._run.journal.replayed_races
        replayed.add(call.step_id)
        try:
            return await self._run_branches(expected)
        finally:
            replayed.discard(call.step_id)

    async def _run_branches(self, expected: int | None) -> int:
        """Start all, wait for the first (the expected one, if it is known), end the others."""
        first: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        for index, entry in enumerate(self._entries):
            self._start(index, entry, expected, first)
        try:
            return await first
        except WorkflowSignal:
            retrieve_signal(asyncio.current_task())
            raise
        finally:
            await self._end_losers(first)

    def _start(self, index: int, entry: _Entry, expected: int | None, first: asyncio.Future[int]) -> None:
        def ended(task: asyncio.Task[Any]) -> None:
            error = error_of(task)
            if first.done():
                return
            if isinstance(error, WorkflowSignal):
                first.set_exception(error)
            elif expected in (None, index):
                first.set_result(index)

        if self._call is None:
            task = asyncio.create_task(_await(entry.awaitable))
        else:
            lost = expected not in (None, index)
            branch = Branch(self._run, f"{self._call.step_id}/{entry.label}/", lost=lost)
            self._branches.append(branch)
            self._run.journal.branches.add(branch.prefix)
            with branch.current():
                task = asyncio.create_task(_await(entry.awaitable))
        task.add_done_callback(ended)
        self._tasks.append(task)

    async def _end_losers(self, first: asyncio.Future[int]) -> None:
        winner = (
            first.result() if first.done() and not first.cancelled() and first.exception() is None else None
        )
        losers = [index for index in range(len(self._tasks)) if index != winner]
        branches = [self._branches[index] for index in losers] if self._branches else []
        for branch in branches:
            branch.end_hold()
        unfinished = {self._tasks[index] for index in losers if not self._tasks[index].done()}
        for task in unfinished:
            task.cancel()
        try:
            for _ in range(_TURNS_TO_CANCEL):
                if all(task.done() for task in unfinished):
                    break
                await asyncio.sleep(0)
        finally:
            for branch in branches:
                branch.empty_hold()
        if unfinished:
            await asyncio.wait(unfinished)
        self._write_off(branches, unfinished)

    def _write_off(self, branches: list[Branch], losers: set[asyncio.Task[Any]]) -> None:
        run = self._run
        for branch in branches:
            run.journal.excuse(branch.prefix)
            run.turnstile.forget(branch.prefix)
            run.waits.give_up_under(branch.prefix)
        for task in losers:
            error = error_of(task)
            if isinstance(error, Exception) and not run.journal.replaying:
                logger.warning(
                    "A branch of a race of %s raised while it was cancelled: %r",
                    run.instance_id,
                    error,
                    extra={"instance_id": run.instance_id},
                )


async def _await(awaitable: Awaitable[T]) -> T:
    return await awaitable
