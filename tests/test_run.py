"""The state that the durable operations of one run share."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from edda import clock
from edda.exceptions import LockLostError, StorageError, WorkflowSignal
from edda.hooks import HookDispatcher
from edda.in_flight import InFlight
from edda.run import Run, Services
from edda.storage.records import HistoryRecord, Lease, WaitRecord
from edda.storage.writes import AlreadyRecorded, NewWait, StepRecorded, Verdict
from edda.types import EventType, WaitKind
from tests.support.eventually import PATIENCE, until

DONE = EventType.ACTIVITY_COMPLETED


class Storage:
    """Gives a prepared answer to every write."""

    def __init__(self, answer: Any = Verdict.ACCEPTED) -> None:
        self.answer = answer
        self.written: list[Any] = []

    async def submit(self, write: Any, *, within: float | None = None) -> Any:
        self.written.append(write)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def run(storage: Storage | None = None, *, seconds: float = 30, waits: list[WaitRecord] | None = None) -> Run:
    port: Any = storage or Storage()
    nothing: Any = None
    services = Services(
        storage=port,
        worker_id="me",
        hooks=HookDispatcher(None),
        default_retry_policy=nothing,
        threads=nothing,
    )
    return Run(Lease("i", "me", 1, seconds), workflow_name="w", services=services, waits=waits or ())


def step(one: Run) -> StepRecorded:
    return StepRecorded(one.lease, "a:1", DONE, "{}")


def timer(step_id: str = "sleep:1") -> NewWait:
    return NewWait(step_id, WaitKind.TIMER, seconds=60)


async def test_a_step_that_is_accepted_has_no_other_outcome() -> None:
    storage = Storage()
    one = run(storage)
    assert await one.record(step(one)) is None
    assert storage.written == [step(one)]


async def test_a_step_that_is_recorded_already_stands() -> None:
    record = HistoryRecord(1, "i", "a:1", DONE, "{}", datetime(2030, 1, 1, tzinfo=UTC))
    one = run(Storage(AlreadyRecorded(record)))
    assert await one.record(step(one)) is record


@pytest.mark.parametrize(
    ("answer", "reason"), [(Verdict.LEASE_LOST, LockLostError), (StorageError("away"), StorageError)]
)
async def test_a_step_that_cannot_be_written_stops_the_run_with_a_signal(answer: Any, reason: type) -> None:
    one = run(Storage(answer))
    with pytest.raises(WorkflowSignal):
        await one.record(step(one))
    assert isinstance(one.stopped_by, reason)


async def test_a_run_that_was_stopped_refuses_every_operation_and_ends_its_waits() -> None:
    one = run()
    waiting = asyncio.create_task(_wait(one))
    await until(lambda: bool(one.waits.pending))
    one.stop(LockLostError("i"))
    one.stop(StorageError("a later reason changes nothing"))
    with pytest.raises(WorkflowSignal, match="Lock lost"):
        await waiting
    with pytest.raises(WorkflowSignal):
        async with InFlight(one):
            raise AssertionError("an operation began")
    assert isinstance(one.stopped_by, LockLostError)
    assert (one.waits.pending, one.in_flight) == ({}, 0)


async def test_a_run_whose_body_has_ended_begins_nothing_but_was_not_stopped() -> None:
    one = run()
    one.close()
    assert (one.ended, one.stopped) == (True, False)
    with pytest.raises(WorkflowSignal, match="its workflow function has ended"):
        await one.check()


async def test_a_wait_is_not_in_flight_until_it_is_due() -> None:
    one = run()
    waiting = asyncio.create_task(_wait(one))
    await until(lambda: one.only_waits)
    assert one.waits.only_for_timers
    assert one.waits.unregistered() == (timer(),)
    one.waits.note_registered([_open(remaining=0.0)])
    assert one.waits.unregistered() == ()
    one.waits.fire_due()
    assert not one.only_waits
    await waiting


async def test_a_wait_that_an_earlier_run_left_open_keeps_its_due_time() -> None:
    earliest = clock.monotonic() + 500
    one = run(waits=[_open(remaining=500.0)])
    latest = clock.monotonic() + 500
    waiting = asyncio.create_task(_wait(one))
    await until(lambda: bool(one.waits.pending))
    due = one.waits.next_due()
    assert due is not None
    assert earliest <= due <= latest
    assert one.waits.unregistered() == ()
    one.stop(LockLostError("i"))
    await asyncio.wait({waiting})
    assert isinstance(waiting.exception(), WorkflowSignal)


def test_a_lease_is_trusted_from_before_it_was_asked_for() -> None:
    one = run(seconds=3000)
    one.trust_lease_from(clock.monotonic() - 2900)
    assert 0 < one.lease_left() <= 100
    one.trust_lease_from(clock.monotonic() - 3001)
    assert one.lease_left() == 0


async def _wait(one: Run) -> None:
    async with InFlight(one):
        await one.wait(timer())


def _open(remaining: float) -> WaitRecord:
    return WaitRecord("sleep:1", WaitKind.TIMER, remaining, None, None)


async def test_a_pause_ends_in_its_own_time_whatever_row_there_is_for_its_step() -> None:
    one = run()
    async with asyncio.timeout(PATIENCE), InFlight(one):
        pause = asyncio.create_task(one.pause(NewWait("a:1", WaitKind.RETRY, seconds=0.01)))
        await until(lambda: "a:1" in one.waits.pending)
        one.waits.note_registered([WaitRecord("a:1", WaitKind.RETRY, None, None, None)])
        due = one.waits.next_due()
        pause.cancel()
    assert due is not None


async def test_a_run_that_was_stopped_reaches_no_further_wait() -> None:
    one = run()
    async with InFlight(one):
        one.stop(LockLostError("i"))
        with pytest.raises(WorkflowSignal):
            async with asyncio.timeout(PATIENCE):
                await one.wait(timer())


async def test_a_first_instance_is_a_chain_of_its_own() -> None:
    first = run()
    successor = Run(first.lease, workflow_name="w", services=first.services, chain_id="first")
    assert (first.chain_id, successor.chain_id) == ("i", "first")
