from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import update

from edda import clock
from edda.storage.leases import takeover_delay
from edda.storage.models import workflow_instances
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.writes import LeasesRenewed, RunReleased, Verdict
from tests.support.writes import OTHER, WORKFLOW, claim_due, finished, lease, run_of, step, taken_over


async def test_renewing_puts_the_end_of_a_lease_off(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage, seconds=-1)
    longer = lease(held.instance_id, seconds=500)
    assert await storage.submit(LeasesRenewed((longer,))) == {}
    assert await storage.seconds_until_due([WORKFLOW]) == pytest.approx(500, abs=5)


def test_the_lease_of_an_instance_that_keeps_dying_grows_to_a_minute() -> None:
    delays = [takeover_delay(attempts) for attempts in (0, 1, 2, 3, 6, 7, 8, 5000)]
    assert delays == [0, 0, 2, 4, 32, 60, 60, 60]


async def test_a_lease_that_has_grown_stays_so_until_its_run_has_lasted(storage: SQLAlchemyStorage) -> None:
    """From then on its worker does not die of the instance, which the next one takes over as any other."""
    held = await run_of(storage, seconds=-1)
    for _ in range(7):
        [claimed] = await storage.submit(claim_due(seconds=-1000))
    [claimed] = await storage.submit(claim_due(seconds=20))
    assert (claimed.attempts, claimed.lease.seconds) == (8, 20)
    await storage.submit(LeasesRenewed((claimed.lease,)))
    assert await storage.seconds_until_due([WORKFLOW]) == pytest.approx(65, abs=25)
    assert await _attempts(storage, held.instance_id) == 8
    begun = update(workflow_instances).values(leased_at=clock.now() - timedelta(seconds=21))
    async with storage.gate, storage.engine.begin() as connection:
        await connection.execute(begun)
    await storage.submit(LeasesRenewed((claimed.lease,)))
    assert await storage.seconds_until_due([WORKFLOW]) == pytest.approx(20, abs=15)
    assert await _attempts(storage, held.instance_id) == 0


async def _attempts(storage: SQLAlchemyStorage, instance_id: str) -> int:
    record = await storage.load_instance(instance_id)
    assert record is not None
    return record.attempts


async def test_renewing_names_what_is_lost(storage: SQLAlchemyStorage) -> None:
    mine = await run_of(storage, seconds=-1)
    lost = await run_of(storage, seconds=-1)
    ended = await run_of(storage, seconds=-1)
    new = await taken_over(storage, lost.instance_id)
    await storage.submit(finished(ended))
    answer = await storage.submit(LeasesRenewed((mine, lost, ended, lease("unknown"))))
    assert answer == dict.fromkeys((lost.instance_id, ended.instance_id, "unknown"), Verdict.LEASE_LOST)
    assert await storage.submit(step(new)) is Verdict.ACCEPTED


async def test_workers_of_one_process_renew_apart(storage: SQLAlchemyStorage) -> None:
    mine, lost = await run_of(storage), lease("unknown")
    answers = await asyncio.gather(
        *(storage.submit(LeasesRenewed(leases)) for leases in ((mine,), (lost,), ())),
    )
    assert answers == [{}, {"unknown": Verdict.LEASE_LOST}, {}]


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


async def test_a_run_that_ended_since_the_database_was_away_is_not_counted(
    storage: SQLAlchemyStorage,
) -> None:
    """So the leases of its instance do not grow, and it is not set aside for longer each time."""
    held = await run_of(storage)
    for released in (
        RunReleased(held, last_error="own"),
        RunReleased(held, last_error="away", blameless=True),
    ):
        await storage.submit(replace(released, lease=held))
        record = await storage.load_instance(held.instance_id)
        held = await taken_over(storage, held.instance_id)
    assert record is not None
    assert (record.attempts, record.last_error) == (0, "away")


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
