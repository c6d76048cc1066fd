"""The state that the durable operations of one run share."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from edda import clock
from edda.exceptions import LockLostError, StorageError, WorkflowSignal
from edda.hooks import HookDispatcher
from edda.run import PendingWait, Run, Services
from edda.storage.records import HistoryRecord, Lease, WaitRecord
from edda.storage.writes import AlreadyRecorded, NewWait, StepRecorded, Verdict
from edda.types import EventType, WaitKind
from tests.support.eventually import eventually

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
    await eventually(lambda: _check(bool(one.pending)))
    one.stop(LockLostError("i"))
    one.stop(StorageError("a later reason changes nothing"))
    with pytest.raises(WorkflowSignal, match="Lock lost"):
        await waiting
    with pytest.raises(WorkflowSignal):
        async with one.operation():
            raise AssertionError("an operation began")
    assert isinstance(one.stopped_by, LockLostError)
    assert (one.pending, one.in_flight) == ({}, 0)


async def test_a_run_whose_body_has_ended_begins_nothing_but_was_not_stopped() -> None:
    one = run()
    one.close()
    assert (one.ended, one.stopped) == (True, False)
    with pytest.raises(WorkflowSignal, match="its workflow function has ended"):
        one.check()


async def test_a_wait_is_not_in_flight_until_it_is_due() -> None:
    one = run()
    waiting = asyncio.create_task(_wait(one))
    await eventually(lambda: _check(one.only_waits))
    assert one.waits_only_for_timers()
    assert one.unregistered() == (timer(),)
    one.note_registered([_open(remaining=0.0)])
    assert one.unregistered() == ()
    one.fire_due_waits()
    assert not one.only_waits
    await waiting


async def test_a_wait_that_an_earlier_run_left_open_keeps_its_due_time() -> None:
    one = run(waits=[_open(remaining=5.0)])
    waiting = asyncio.create_task(_wait(one))
    await eventually(lambda: _check(bool(one.pending)))
    due = one.next_due()
    assert due is not None
    assert 4 < due - clock.monotonic() <= 5
    assert one.unregistered() == ()
    one.stop(LockLostError("i"))
    await asyncio.wait({waiting})
    assert isinstance(waiting.exception(), WorkflowSignal)


async def test_the_first_due_wait_is_the_next() -> None:
    one = run()
    loop = asyncio.get_running_loop()
    for step_id, due in (("a", 9.0), ("b", 3.0), ("c", None)):
        one.pending[step_id] = PendingWait(
            timer(step_id), registered=True, done=loop.create_future(), due=due
        )
    assert one.next_due() == 3.0


def test_a_lease_is_trusted_from_before_it_was_asked_for() -> None:
    one = run(seconds=30)
    one.trust_lease_from(clock.monotonic() - 29)
    assert 0 < one.lease_left() <= 1
    one.trust_lease_from(clock.monotonic() - 31)
    assert one.lease_left() == 0


async def test_a_parked_run_regains_its_lease_before_the_next_operation() -> None:
    one = run()
    one.give_up_lease()

    async def regain() -> None:
        one.take_lease(Lease("i", "me", 2, 30))

    one.regain_lease = regain
    async with one.operation():
        assert (one.leased, one.lease.token, one.in_flight) == (True, 2, 1)
    assert one.in_flight == 0


async def _wait(one: Run) -> None:
    async with one.operation():
        await one.wait(timer())


def _open(remaining: float) -> WaitRecord:
    return WaitRecord("sleep:1", WaitKind.TIMER, remaining, None, None)


def _check(condition: bool) -> None:
    assert condition


async def test_a_pause_ends_in_its_own_time_whatever_row_there_is_for_its_step() -> None:
    one = run()
    async with asyncio.timeout(5), one.operation():
        pause = asyncio.create_task(one.pause(NewWait("a:1", WaitKind.RETRY, seconds=0.01)))
        await eventually(lambda: _check("a:1" in one.pending))
        one.note_registered([WaitRecord("a:1", WaitKind.RETRY, None, None, None)])
        due = one.next_due()
        pause.cancel()
    assert due is not None


async def test_a_run_that_was_stopped_reaches_no_further_wait() -> None:
    one = run()
    async with one.operation():
        one.stop(LockLostError("i"))
        with pytest.raises(WorkflowSignal):
            async with asyncio.timeout(5):
                await one.wait(timer())


def test_overdue_rows_that_nobody_waits_for_are_silenced_when_the_run_parks() -> None:
    one = run(
        waits=[
            WaitRecord("a:1", WaitKind.RETRY, -1.0, None, '{"n": 1}'),
            WaitRecord("sleep:1", WaitKind.TIMER, 0.0, None, None),
            WaitRecord("sleep:2", WaitKind.TIMER, 9.0, None, None),
        ]
    )
    kept = one.silence_overdue()
    assert kept == (NewWait("a:1", WaitKind.RETRY, data='{"n": 1}', replace=True),)
    assert one.abandoned_waits == ["sleep:1"]
    assert one.open_wait("sleep:1") is not None
