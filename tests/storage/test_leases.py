from __future__ import annotations

import asyncio

import pytest

from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.writes import LeasesRenewed, RunReleased, Verdict
from tests.support.writes import OTHER, WORKFLOW, claim_due, finished, lease, run_of, step, taken_over


async def test_renewing_puts_the_end_of_a_lease_off(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage, seconds=-1)
    longer = lease(held.instance_id, seconds=500)
    assert await storage.submit(LeasesRenewed((longer,))) == frozenset()
    assert await storage.seconds_until_due([WORKFLOW]) == pytest.approx(500, abs=5)


async def test_renewing_names_what_is_lost(storage: SQLAlchemyStorage) -> None:
    mine = await run_of(storage, seconds=-1)
    lost = await run_of(storage, seconds=-1)
    ended = await run_of(storage, seconds=-1)
    new = await taken_over(storage, lost.instance_id)
    await storage.submit(finished(ended))
    answer = await storage.submit(LeasesRenewed((mine, lost, ended, lease("unknown"))))
    assert answer == {lost.instance_id, ended.instance_id, "unknown"}
    assert await storage.submit(step(new)) is Verdict.ACCEPTED


async def test_workers_of_one_process_renew_apart(storage: SQLAlchemyStorage) -> None:
    mine, lost = await run_of(storage), lease("unknown")
    answers = await asyncio.gather(
        *(storage.submit(LeasesRenewed(leases)) for leases in ((mine,), (lost,), ())),
    )
    assert answers == [frozenset(), {"unknown"}, frozenset()]


async def test_a_released_instance_is_due_again_for_anybody(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    assert await storage.submit(RunReleased(held)) is Verdict.ACCEPTED
    record = await storage.load_instance(held.instance_id)
    assert record is not None
    assert (record.locked_by, record.locked_at, record.attempts, record.last_error) == (None, None, 0, None)
    assert await storage.seconds_until_due([WORKFLOW]) == 0


async def test_a_release_can_be_for_later(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    await storage.submit(RunReleased(held, delay=100))
    assert await storage.seconds_until_due([WORKFLOW]) == pytest.approx(100, abs=5)
    assert await storage.submit(claim_due()) == ()


async def test_runs_that_died_are_counted_until_one_ends_in_good_order(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    counts = []
    for error in ("first", "second", None):
        await storage.submit(RunReleased(held, last_error=error))
        record = await storage.load_instance(held.instance_id)
        assert record is not None
        counts.append((record.attempts, record.last_error))
        held = await taken_over(storage, held.instance_id)
    assert counts == [(1, "first"), (2, "second"), (0, None)]


async def test_a_late_release_takes_nothing_from_the_next_holder(storage: SQLAlchemyStorage) -> None:
    old = await run_of(storage)
    await storage.submit(RunReleased(old))
    new = await taken_over(storage, old.instance_id)
    assert await storage.submit(RunReleased(old)) is Verdict.LEASE_LOST
    record = await storage.load_instance(old.instance_id)
    assert record is not None
    assert record.locked_by == OTHER
    assert await storage.submit(step(new)) is Verdict.ACCEPTED


async def test_releasing_twice_is_the_same_as_once(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    answers = [await storage.submit(RunReleased(held, last_error="x")) for _ in range(2)]
    assert answers == [Verdict.ACCEPTED] * 2
    record = await storage.load_instance(held.instance_id)
    assert record is not None
    assert record.attempts == 1


async def test_what_has_ended_cannot_be_released(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    await storage.submit(finished(held))
    assert await storage.submit(RunReleased(held)) is Verdict.LEASE_LOST
    assert await storage.seconds_until_due([WORKFLOW]) is None
