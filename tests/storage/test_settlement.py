from __future__ import annotations

import asyncio
import re

import pytest

from edda.exceptions import StorageError
from edda.storage import history
from edda.storage.dialects.base import Attempt
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.writes import LeasesRenewed, NotClaimable, Parked, RunReleased, Verdict, WaitsRegistered
from edda.types import EventType, Status
from tests.storage.batches import apply_batch
from tests.storage.plans import plan_of
from tests.support.writes import (
    OWNER,
    WORKFLOW,
    claim,
    claim_due,
    finished,
    lease,
    parked,
    recurred,
    run_of,
    step,
    successor,
    taken_over,
    wait,
)

# -- parking -----------------------------------------------------------------------------


async def test_a_parked_run_is_due_with_its_first_wait(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    answer = await storage.submit(parked(held, wait("b:1", 500), wait("a:1", 100), wait("c:1")))
    assert isinstance(answer, Parked)
    assert answer.due_in == pytest.approx(100, abs=5)
    assert await storage.seconds_until_due([WORKFLOW]) == pytest.approx(100, abs=5)
    record = await storage.load_instance(held.instance_id)
    assert record is not None
    assert (record.status, record.current_activity_id) == (Status.WAITING_FOR_TIMER, "b:1")
    assert (record.locked_by, record.locked_at) == (None, None)


async def test_waits_registered_before_count(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    await storage.submit(WaitsRegistered(held, (wait("a:1", 50),)))
    answer = await storage.submit(parked(held, wait("a:1", 5), wait("b:1", 500)))
    assert isinstance(answer, Parked)
    assert answer.due_in == pytest.approx(50, abs=5)


async def test_a_wait_that_is_over_makes_the_parked_run_due_now(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    assert await storage.submit(parked(held, wait("a:1", -5))) == Parked(0.0)
    (claimed,) = await storage.submit(claim_due())
    assert claimed.lease.instance_id == held.instance_id


async def test_a_run_that_waits_for_a_message_alone_is_never_due(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    assert await storage.submit(parked(held, wait("receive:1"))) == Parked(None)
    assert await storage.seconds_until_due([WORKFLOW]) is None


async def test_parking_forgets_the_runs_that_died(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    await storage.submit(RunReleased(held, last_error="died"))
    again = await taken_over(storage, held.instance_id)
    await storage.submit(parked(again, wait()))
    record = await storage.load_instance(held.instance_id)
    assert record is not None
    assert (record.attempts, record.last_error) == (0, None)


async def test_a_run_that_lost_its_lease_cannot_park(storage: SQLAlchemyStorage) -> None:
    old = await run_of(storage, seconds=-1)
    new = await taken_over(storage, old.instance_id)
    mine = await run_of(storage)
    answers = await asyncio.gather(
        storage.submit(parked(old, wait("old:1", 1))), storage.submit(parked(mine, wait("mine:1")))
    )
    assert list(answers) == [Verdict.LEASE_LOST, Parked(None)]
    assert await storage.load_waits(old.instance_id) == []
    assert await storage.submit(step(new)) is Verdict.ACCEPTED


async def test_parking_again_is_answered_as_before(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    for _ in range(2):
        answer = await storage.submit(parked(held, wait("a:1", 100)))
        assert isinstance(answer, Parked)
        assert answer.due_in == pytest.approx(100, abs=5)


# -- the end -----------------------------------------------------------------------------


async def test_the_end_leaves_the_row_and_the_history_alone(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    await storage.submit(WaitsRegistered(held, (wait("a:1", 5), wait("b:1"))))
    row = {"activity_id": "workflow_failed", "event_type": EventType.WORKFLOW_FAILED, "event_data": "{}"}
    end = finished(held, Status.FAILED, **row)
    assert await storage.submit(end) is Verdict.ACCEPTED
    record = await storage.load_instance(held.instance_id)
    assert record is not None
    assert (record.status, record.output_data) == (Status.FAILED, '{"result":1}')
    assert (record.locked_by, record.locked_at, record.due_at) == (None, None, None)
    assert await storage.load_waits(held.instance_id) == []
    (last,) = await storage.load_history(held.instance_id)
    assert (last.activity_id, last.event_type) == ("workflow_failed", EventType.WORKFLOW_FAILED)


async def test_ending_twice_is_the_same_as_once(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    end = finished(held, activity_id="end", event_type=EventType.WORKFLOW_FAILED, event_data="{}")
    assert [await storage.submit(end) for _ in range(2)] == [Verdict.ACCEPTED] * 2
    assert len(await storage.load_history(held.instance_id)) == 1


async def test_a_run_that_lost_its_lease_cannot_end_the_instance(storage: SQLAlchemyStorage) -> None:
    old = await run_of(storage, seconds=-1)
    new = await taken_over(storage, old.instance_id)
    mine = await run_of(storage)
    await storage.submit(WaitsRegistered(new, (wait(),)))
    end = finished(old, activity_id="end", event_type=EventType.WORKFLOW_FAILED, event_data="{}")
    answers = await asyncio.gather(storage.submit(end), storage.submit(finished(mine)))
    assert list(answers) == [Verdict.LEASE_LOST, Verdict.ACCEPTED]
    record = await storage.load_instance(old.instance_id)
    assert record is not None
    assert (record.status, record.output_data) == (Status.RUNNING, None)
    assert await storage.load_history(old.instance_id) == []
    assert len(await storage.load_waits(old.instance_id)) == 1


async def test_nothing_changes_an_instance_that_has_ended(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    await storage.submit(finished(held))
    ended = await storage.load_instance(held.instance_id)
    answers = [
        await storage.submit(write)
        for write in (
            finished(held, Status.FAILED),
            parked(held, wait("a:1", 1)),
            RunReleased(held),
            step(held),
            WaitsRegistered(held, (wait(),)),
        )
    ]
    assert answers == [Verdict.LEASE_LOST] * 5
    assert await storage.submit(LeasesRenewed((held,))) == {held.instance_id: Verdict.LEASE_LOST}
    assert await storage.submit(claim(held.instance_id)) is NotClaimable.TERMINAL
    assert await storage.submit(claim_due()) == ()
    assert await storage.load_instance(held.instance_id) == ended


async def test_an_unknown_instance_cannot_end(storage: SQLAlchemyStorage) -> None:
    assert await storage.submit(finished(lease("unknown"))) is Verdict.LEASE_LOST


# -- recurring ---------------------------------------------------------------------------


async def test_a_recur_ends_the_instance_and_begins_its_successor(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    await storage.submit(WaitsRegistered(held, (wait("a:1", 5),)))
    await storage.submit(step(held, "first:1"))
    await storage.submit(step(held, "last:1"))
    new = successor(held, input_data='{"n":1}', lock_timeout_seconds=120)
    assert await storage.submit(recurred(held, new)) is Verdict.ACCEPTED

    ended = await storage.get_instance(held.instance_id)
    assert ended is not None
    assert (ended["status"], ended["output_data"]) == ("recurred", {"recur_kwargs": {}})
    assert (ended["locked_by"], ended["locked_at"], ended["current_activity_id"]) == (None, None, "last:1")
    assert await storage.load_waits(held.instance_id) == []
    begun = await storage.load_instance(new.instance_id)
    assert begun is not None
    assert (begun.status, begun.input_data, begun.locked_by) == (Status.RUNNING, '{"n":1}', OWNER)
    assert (begun.continued_from, begun.lock_timeout_seconds) == (held.instance_id, 120)
    assert new.lease is not None
    assert await storage.submit(step(new.lease)) is Verdict.ACCEPTED


async def test_the_history_of_a_recurred_instance_moves_to_the_archive(storage: SQLAlchemyStorage) -> None:
    """Also where the database gives the ids of removed rows to new ones."""
    for _ in range(2):
        held, other = await run_of(storage), await run_of(storage)
        for name in ("b:1", "a:1"):
            await storage.submit(step(held, name))
        before = await storage.get_history(held.instance_id)
        await storage.submit(step(other))
        assert await storage.get_archived_history(held.instance_id) == []
        await storage.submit(recurred(held))
        assert await storage.get_history(held.instance_id) == []
        assert await storage.get_archived_history(held.instance_id) == before
        assert len(await storage.get_history(other.instance_id)) == 1
        assert await storage.get_archived_history(other.instance_id) == []
        await storage.submit(recurred(other))


async def test_a_run_that_lost_its_lease_cannot_recur(storage: SQLAlchemyStorage) -> None:
    old = await run_of(storage, seconds=-1)
    new = await taken_over(storage, old.instance_id)
    mine = await run_of(storage)
    await storage.submit(step(new))
    late, good = recurred(old), recurred(mine)
    answers = await asyncio.gather(storage.submit(late), storage.submit(good))
    assert list(answers) == [Verdict.LEASE_LOST, Verdict.ACCEPTED]
    assert await storage.load_instance(late.new.instance_id) is None
    assert await storage.load_instance(good.new.instance_id) is not None
    record = await storage.load_instance(old.instance_id)
    assert record is not None
    assert record.status is Status.RUNNING
    assert len(await storage.load_history(old.instance_id)) == 1


async def test_recurring_twice_makes_one_successor(storage: SQLAlchemyStorage) -> None:
    """The very same write is answered as before; another successor is not made."""
    held = await run_of(storage)
    write = recurred(held)
    second, third = recurred(held), recurred(held)
    answers = await asyncio.gather(storage.submit(write), storage.submit(second))
    assert list(answers) == [Verdict.ACCEPTED, Verdict.LEASE_LOST]
    answers = await asyncio.gather(storage.submit(write), storage.submit(third))
    assert list(answers) == [Verdict.ACCEPTED, Verdict.LEASE_LOST]
    for other in (second, third):
        assert await storage.load_instance(other.new.instance_id) is None


@pytest.mark.parametrize("attempt", [Attempt.REPEATED, Attempt.UNCERTAIN])
async def test_a_recur_is_made_once_whether_or_not_it_was_made_before(
    storage: SQLAlchemyStorage, attempt: Attempt
) -> None:
    """After an answer that was lost, beside writes that were not made before and one that cannot be."""
    before, after = await run_of(storage), await run_of(storage)
    await storage.submit(step(before))
    await storage.submit(step(after))
    lost = recurred(lease(after.instance_id, token=9))
    writes = [recurred(before), recurred(after), lost]
    assert await storage.submit(writes[0]) is Verdict.ACCEPTED
    for _ in range(2):
        answers = await apply_batch(storage, attempt, *writes)
        assert answers == [Verdict.ACCEPTED, Verdict.ACCEPTED, Verdict.LEASE_LOST]
    for write in writes[:2]:
        assert await storage.load_instance(write.new.instance_id) is not None
        assert len(await storage.get_archived_history(write.lease.instance_id)) == 1
    assert await storage.load_instance(lost.new.instance_id) is None


async def test_an_instance_goes_on_when_its_successor_cannot_be_made(storage: SQLAlchemyStorage) -> None:
    held, other = await run_of(storage), await run_of(storage)
    await storage.submit(step(held))
    with pytest.raises(StorageError, match="the successor has the id of another instance"):
        await storage.submit(recurred(held, successor(held, instance_id=other.instance_id)))
    assert len(await storage.load_history(held.instance_id)) == 1
    assert await storage.submit(finished(held)) is Verdict.ACCEPTED


async def test_moving_histories_reads_them_by_their_index(storage: SQLAlchemyStorage) -> None:
    """Whatever the size of the table when the plan is made, since plans are kept while tables grow."""
    for statement in (history._copy(storage.dialect), history._delete(storage.dialect)):
        plan = await plan_of(storage, statement, {"instance_ids": ["a", "b"]})
        assert re.search("(uq|sqlite_autoindex)_workflow_history_(instance_id_activity_id|1)", plan), plan
