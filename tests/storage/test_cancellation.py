from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from edda.storage.dialects.base import Attempt
from edda.storage.records import ClaimedInstance, Lease, under_next_token
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.writes import (
    AlreadyRecorded,
    CancelRequested,
    CancelTold,
    LeasesRenewed,
    NewInstance,
    NotCancellable,
    Parked,
    RollbackBegun,
    RunReleased,
    StepRecorded,
    Verdict,
    WaitsEnded,
    WaitsRegistered,
)
from edda.types import EventType, Status
from tests.storage.batches import apply_batch
from tests.support.writes import (
    OTHER,
    OWNER,
    claim,
    claim_due,
    finished,
    parked,
    recurred,
    run_of,
    step,
    taken_over,
    unleased,
    wait,
)

AT = datetime(2024, 2, 29, 12, tzinfo=UTC)


def cancel(instance_id: str, *, owner: str = OTHER, by: str = "user") -> CancelRequested:
    return CancelRequested(owner, instance_id, 60.0, by, AT)


async def reason_of(storage: SQLAlchemyStorage, instance_id: str) -> list[Any]:
    history = await storage.load_history(instance_id)
    return [json.loads(row.event_data) for row in history if row.event_type is EventType.WORKFLOW_CANCELLED]


# -- an instance that a worker runs ------------------------------------------------------------


async def test_a_running_instance_stays_with_its_worker_under_the_next_token(
    storage: SQLAlchemyStorage,
) -> None:
    held = await run_of(storage)
    assert await storage.submit(cancel(held.instance_id)) == CancelTold(OWNER, held.token)
    record = await storage.load_instance(held.instance_id)
    assert record is not None
    assert (record.status, record.locked_by) == (Status.RUNNING, OWNER)
    assert await reason_of(storage, held.instance_id) == [
        {"cancelled_by": "user", "cancelled_at": AT.isoformat(), "previous_status": "running"}
    ]
    assert await storage.submit(finished(under_next_token(held), Status.CANCELLED)) is Verdict.ACCEPTED


async def test_asking_again_changes_nothing(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    both = [storage.submit(cancel(held.instance_id, by=by)) for by in ("first", "second")]
    assert await asyncio.gather(*both) == [CancelTold(OWNER, held.token)] * 2
    assert await storage.submit(cancel(held.instance_id, by="third")) == CancelTold(OWNER, held.token)
    [reason] = await reason_of(storage, held.instance_id)
    assert reason["cancelled_by"] == "first"
    assert await storage.submit(finished(under_next_token(held))) is Verdict.ACCEPTED


async def test_the_step_in_flight_is_recorded_and_its_run_told(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    await storage.submit(WaitsRegistered(held, (wait("pay:1", 50),)))
    await storage.submit(cancel(held.instance_id))
    assert await storage.submit(step(held, "pay:1", ends_wait=True)) is Verdict.CANCEL_REQUESTED
    assert [row.activity_id for row in await storage.load_history(held.instance_id)] == [
        "workflow_cancelled",
        "pay:1",
    ]
    assert await storage.load_waits(held.instance_id) == []
    assert await storage.submit(step(under_next_token(held), "undo:1")) is Verdict.ACCEPTED


async def test_its_effects_happen_with_it_once(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    child, inner = unleased(), step(held, "outer:1/inner:1")
    ended = WaitsEnded(held, ("sleep:1",))
    await storage.submit(WaitsRegistered(held, (wait("sleep:1", 50),)))
    await storage.submit(cancel(held.instance_id))
    outer = StepRecorded(held, "outer:1", EventType.ACTIVITY_COMPLETED, "{}", effects=(inner, child, ended))
    assert await storage.submit(outer) is Verdict.CANCEL_REQUESTED
    assert await storage.load_instance(child.instance_id) is not None
    assert {row.activity_id for row in await storage.load_history(held.instance_id)} == {
        "workflow_cancelled",
        "outer:1",
        "outer:1/inner:1",
    }
    assert await storage.load_waits(held.instance_id) == []


async def test_a_step_with_another_recorded_outcome_keeps_that(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    await storage.submit(step(held, data='"first"'))
    await storage.submit(cancel(held.instance_id))
    answer = await storage.submit(step(held, data='"second"'))
    assert isinstance(answer, AlreadyRecorded)
    assert answer.record.event_data == '"first"'


async def test_neighbours_in_the_batch_are_not_disturbed(storage: SQLAlchemyStorage) -> None:
    asked, lost, good = [await run_of(storage) for _ in range(3)]
    await storage.submit(cancel(asked.instance_id))
    stale = Lease(lost.instance_id, lost.owner, lost.token - 1, 60.0)
    answers = await asyncio.gather(*(storage.submit(step(held)) for held in (asked, stale, good)))
    assert list(answers) == [Verdict.CANCEL_REQUESTED, Verdict.LEASE_LOST, Verdict.ACCEPTED]


@pytest.mark.parametrize(
    "make",
    [
        finished,
        lambda held: RollbackBegun(held, "{}"),
        recurred,
        lambda held: parked(held, wait("sleep:1", 5)),
        lambda held: WaitsRegistered(held, (wait("sleep:1", 5),)),
        lambda held: WaitsEnded(held, ("sleep:1",)),
        RunReleased,
    ],
    ids=["finish", "rollback", "recur", "park", "register", "end", "release"],
)
async def test_every_other_write_is_refused_with_the_reason(storage: SQLAlchemyStorage, make: Any) -> None:
    held = await run_of(storage)
    await storage.submit(cancel(held.instance_id))
    assert await storage.submit(make(held)) is Verdict.CANCEL_REQUESTED
    record = await storage.load_instance(held.instance_id)
    assert record is not None
    assert (record.status, record.locked_by, record.output_data) == (Status.RUNNING, OWNER, None)
    assert await storage.load_waits(held.instance_id) == []
    assert len(await storage.load_history(held.instance_id)) == 1


async def test_a_renewal_tells_which_runs_are_to_end(storage: SQLAlchemyStorage) -> None:
    asked, lost, good = await run_of(storage), await run_of(storage, seconds=-1), await run_of(storage)
    await taken_over(storage, lost.instance_id)
    await storage.submit(cancel(asked.instance_id))
    assert await storage.submit(LeasesRenewed((asked, lost, good))) == {
        asked.instance_id: Verdict.CANCEL_REQUESTED,
        lost.instance_id: Verdict.LEASE_LOST,
    }


# -- who was first -----------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["finish first", "cancel first"])
async def test_of_completion_and_cancellation_the_first_counts(
    storage: SQLAlchemyStorage, order: str
) -> None:
    held = await run_of(storage)
    if order == "finish first":
        assert await storage.submit(finished(held)) is Verdict.ACCEPTED
        assert await storage.submit(cancel(held.instance_id)) is NotCancellable.NOT_LIVE
        assert await reason_of(storage, held.instance_id) == []
    else:
        assert await storage.submit(cancel(held.instance_id)) == CancelTold(OWNER, held.token)
        assert await storage.submit(finished(held)) is Verdict.CANCEL_REQUESTED


async def test_in_one_batch_what_ends_has_ended(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    answers = await asyncio.gather(storage.submit(cancel(held.instance_id)), storage.submit(finished(held)))
    assert list(answers) == [NotCancellable.NOT_LIVE, Verdict.ACCEPTED]


async def test_a_request_to_an_earlier_lease_is_none_to_a_later_one(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    await storage.submit(cancel(held.instance_id))
    await storage.submit(RunReleased(under_next_token(held)))
    (claimed,) = await storage.submit(claim_due(owner=OWNER))
    assert (claimed.cancelled, claimed.lease.token) == (True, held.token + 2)
    for old in (held, under_next_token(held)):
        assert await storage.submit(step(old)) is Verdict.LEASE_LOST


async def test_a_late_run_is_not_taken_for_the_one_that_was_asked(storage: SQLAlchemyStorage) -> None:
    """Its lease ran out; the worker that cancels is the same one, so the owner does not change."""
    late = await run_of(storage, seconds=-1)
    claimed = await storage.submit(cancel(late.instance_id, owner=OWNER))
    assert isinstance(claimed, ClaimedInstance)
    assert claimed.lease.token == late.token + 1
    assert await storage.submit(step(late)) is Verdict.LEASE_LOST
    assert await storage.submit(step(claimed.lease)) is Verdict.ACCEPTED


# -- an instance that nobody runs ----------------------------------------------------------------


async def _parked(storage: SQLAlchemyStorage) -> str:
    held = await run_of(storage)
    assert isinstance(await storage.submit(parked(held, wait("sleep:1", 50))), Parked)
    return held.instance_id


async def _new(storage: SQLAlchemyStorage) -> str:
    new: NewInstance = unleased()
    assert await storage.submit(new)
    return new.instance_id


async def _left_by_a_dead_worker(storage: SQLAlchemyStorage) -> str:
    return (await run_of(storage, seconds=-1)).instance_id


@pytest.mark.parametrize(
    ("make", "previous"),
    [(_parked, "waiting_for_timer"), (_new, "running"), (_left_by_a_dead_worker, "running")],
)
async def test_it_is_leased_to_the_one_who_asks(storage: SQLAlchemyStorage, make: Any, previous: str) -> None:
    instance_id = await make(storage)
    answer = await storage.submit(cancel(instance_id))
    assert isinstance(answer, ClaimedInstance)
    assert (answer.lease.owner, answer.cancelled, answer.status) == (OTHER, True, Status.RUNNING)
    [reason] = await reason_of(storage, instance_id)
    assert reason["previous_status"] == previous
    assert await storage.submit(finished(answer.lease, Status.CANCELLED)) is Verdict.ACCEPTED


async def test_of_two_who_ask_at_once_one_gets_it(storage: SQLAlchemyStorage) -> None:
    instance_id = await _parked(storage)
    first, second = await asyncio.gather(*(storage.submit(cancel(instance_id)) for _ in range(2)))
    assert isinstance(first, ClaimedInstance)
    assert second == CancelTold(OTHER, 0)
    assert len(await reason_of(storage, instance_id)) == 1
    assert await storage.submit(cancel(instance_id)) == CancelTold(OTHER, 0)
    assert await storage.submit(finished(first.lease, Status.CANCELLED)) is Verdict.ACCEPTED


async def test_whoever_takes_it_over_knows_that_it_is_cancelled(storage: SQLAlchemyStorage) -> None:
    instance_id = await _parked(storage)
    first = await storage.submit(cancel(instance_id))
    assert isinstance(first, ClaimedInstance)
    await storage.submit(RunReleased(first.lease))
    second = await storage.submit(claim(instance_id))
    assert isinstance(second, ClaimedInstance)
    assert second.cancelled


@pytest.mark.parametrize("make", [_parked, _new, _left_by_a_dead_worker])
async def test_a_request_whose_commit_went_unanswered_still_has_the_lease(
    storage: SQLAlchemyStorage, make: Any
) -> None:
    instance_id = await make(storage)
    request = cancel(instance_id)
    first = await storage.submit(request)
    assert isinstance(first, ClaimedInstance)
    other = CancelRequested(OTHER, instance_id, 60.0, "another", AT)
    request = request.unanswered(first)
    again, late = await apply_batch(storage, Attempt.UNCERTAIN, request, other)
    assert again == first
    assert late == CancelTold(OTHER, 0)
    assert len(await reason_of(storage, instance_id)) == 1
    assert await storage.submit(finished(first.lease, Status.CANCELLED)) is Verdict.ACCEPTED
    assert await apply_batch(storage, Attempt.UNCERTAIN, request) == [NotCancellable.NOT_LIVE]


async def test_nor_does_it_take_the_lease_of_another_worker(storage: SQLAlchemyStorage) -> None:
    instance_id = await _parked(storage)
    request = cancel(instance_id)
    first = await storage.submit(request)
    assert isinstance(first, ClaimedInstance)
    await storage.submit(RunReleased(first.lease))
    (claimed,) = await storage.submit(claim_due(owner=OWNER))
    request = request.unanswered(first)
    assert await apply_batch(storage, Attempt.UNCERTAIN, request) == [CancelTold(OWNER, 0)]
    assert await storage.submit(step(claimed.lease)) is Verdict.ACCEPTED


# -- nothing to cancel ---------------------------------------------------------------------------


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
async def test_what_has_ended_stays_as_it_is(storage: SQLAlchemyStorage, status: Status) -> None:
    held = await run_of(storage)
    await storage.submit(finished(held, status))
    assert await storage.submit(cancel(held.instance_id)) is NotCancellable.NOT_LIVE
    record = await storage.load_instance(held.instance_id)
    assert record is not None
    assert record.status is status
    assert await reason_of(storage, held.instance_id) == []


async def test_what_is_rolled_back_already_or_unknown_is_refused(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    await storage.submit(RollbackBegun(held, "{}"))
    assert await storage.submit(cancel(held.instance_id)) is NotCancellable.NOT_LIVE
    assert await storage.submit(cancel("order-unknown")) is NotCancellable.NOT_LIVE
    assert await storage.submit(step(held)) is Verdict.ACCEPTED
