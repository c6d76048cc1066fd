from __future__ import annotations

from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.writes import RollbackBegun, RunReleased, Verdict, WaitsRegistered
from edda.types import EventType, Status
from tests.support.writes import claim_due, finished, lease, run_of, step, taken_over, wait

REASON = ("workflow_failed", EventType.WORKFLOW_FAILED, '{"error_type":"ValueError"}')


async def test_a_rollback_fixes_the_output_and_the_reason_and_keeps_the_lease(
    storage: SQLAlchemyStorage,
) -> None:
    held = await run_of(storage)
    await storage.submit(WaitsRegistered(held, (wait("sleep:1", 50),)))
    assert await storage.submit(RollbackBegun(held, '{"error":1}', *REASON)) is Verdict.ACCEPTED
    record = await storage.load_instance(held.instance_id)
    assert record is not None
    assert (record.status, record.output_data, record.locked_by) == (
        Status.COMPENSATING,
        '{"error":1}',
        held.owner,
    )
    assert [row.activity_id for row in await storage.load_history(held.instance_id)] == ["workflow_failed"]
    assert await storage.load_waits(held.instance_id) == []
    assert await storage.submit(step(held, "compensation_1")) is Verdict.ACCEPTED


async def test_one_whose_row_is_there_already_adds_none(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    assert await storage.submit(RollbackBegun(held, "{}")) is Verdict.ACCEPTED
    assert await storage.load_history(held.instance_id) == []


async def test_without_the_lease_nothing_changes(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage, seconds=-1)
    other = await taken_over(storage, held.instance_id)
    await storage.submit(WaitsRegistered(other, (wait("sleep:1", 50),)))
    assert await storage.submit(RollbackBegun(held, "{}", *REASON)) is Verdict.LEASE_LOST
    assert await storage.submit(RollbackBegun(lease(), "{}", *REASON)) is Verdict.LEASE_LOST
    record = await storage.load_instance(held.instance_id)
    assert record is not None
    assert (record.status, record.output_data) == (Status.RUNNING, None)
    assert await storage.load_history(held.instance_id) == []
    assert len(await storage.load_waits(held.instance_id)) == 1


async def test_it_stays_a_rollback_whoever_takes_it_over_until_it_ends(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    await storage.submit(RollbackBegun(held, "{}", *REASON))
    await storage.submit(RunReleased(held))
    (claimed,) = await storage.submit(claim_due())
    assert claimed.status is Status.COMPENSATING
    assert await storage.submit(finished(claimed.lease, Status.FAILED)) is Verdict.ACCEPTED
    record = await storage.load_instance(held.instance_id)
    assert record is not None
    assert record.status is Status.FAILED
