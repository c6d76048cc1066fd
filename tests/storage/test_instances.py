from __future__ import annotations

import asyncio
from datetime import UTC, timedelta

from sqlalchemy import select

from edda import clock
from edda.storage.models import workflow_instances
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.writes import RunReleased
from edda.types import Status
from tests.storage.plans import plan_of
from tests.support.writes import (
    OTHER,
    OWNER,
    WORKFLOW,
    finished,
    lease,
    leased,
    new_id,
    parked,
    run_of,
    step,
    unleased,
    wait,
)

NASTY = '{"text": "a\\\\b \\" \' %s :x ? é 漢 😀 \\u0000\\n</script>", "long": "' + "x" * 100_000 + '"}'


async def test_a_new_instance_belongs_to_its_creator(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage, seconds=60, lock_timeout_seconds=300)
    record = await storage.load_instance(held.instance_id)
    assert record is not None
    assert (record.status, record.locked_by, record.attempts) == (Status.RUNNING, OWNER, 0)
    assert record.lock_timeout_seconds == 300
    assert record.locked_at is not None
    assert record.due_at is not None
    assert 59 < (record.due_at - record.locked_at).total_seconds() < 61


async def test_an_instance_without_a_creator_is_due_at_once(storage: SQLAlchemyStorage) -> None:
    new = unleased()
    assert await storage.submit(new)
    record = await storage.load_instance(new.instance_id)
    assert record is not None
    assert record.locked_by is None
    assert record.due_at is not None
    assert await storage.seconds_until_due([WORKFLOW]) == 0


async def test_the_second_instance_of_an_id_is_none(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage, input_data='{"first": true}')
    assert not await storage.submit(leased(held, input_data='{"first": false}'))
    assert not await storage.submit(unleased(held.instance_id))
    record = await storage.load_instance(held.instance_id)
    assert record is not None
    assert (record.input_data, record.locked_by) == ('{"first": true}', OWNER)


async def test_of_many_instances_of_an_id_in_one_batch_one_is_made(storage: SQLAlchemyStorage) -> None:
    instance_id = new_id()
    answers = await asyncio.gather(
        *(storage.submit(leased(lease(instance_id, owner=f"worker-{n}"))) for n in range(5)),
        storage.submit(unleased()),
    )
    assert answers == [True, False, False, False, False, True]
    record = await storage.load_instance(instance_id)
    assert record is not None
    assert record.locked_by == "worker-0"


async def test_of_two_workers_that_make_one_instance_one_does(
    two_storages: tuple[SQLAlchemyStorage, SQLAlchemyStorage],
) -> None:
    first, second = two_storages
    for _ in range(20):
        instance_id = new_id()
        answers = await asyncio.gather(
            first.submit(leased(lease(instance_id, owner=OWNER))),
            second.submit(leased(lease(instance_id, owner=OTHER))),
        )
        assert sorted(answers) == [False, True]
        record = await first.load_instance(instance_id)
        assert record is not None
        assert record.locked_by == (OWNER if answers[0] else OTHER)


async def test_texts_come_back_as_they_were(storage: SQLAlchemyStorage) -> None:
    held = await run_of(
        storage,
        input_data=NASTY,
        continued_from="täst",
        owner_service="büro",
    )
    record = await storage.load_instance(held.instance_id)
    assert record is not None
    assert record.input_data == NASTY
    assert (record.continued_from, record.owner_service) == ("täst", "büro")


async def test_ids_differ_by_case_and_accent(storage: SQLAlchemyStorage) -> None:
    for instance_id in ("Order-e", "order-e", "order-é"):
        assert await storage.submit(unleased(instance_id))
    record = await storage.load_instance("order-e")
    assert record is not None
    assert record.instance_id == "order-e"


async def test_an_unknown_instance_is_none(storage: SQLAlchemyStorage) -> None:
    assert await storage.load_instance("unknown") is None
    assert await storage.get_instance("unknown") is None


async def test_times_are_aware_and_in_utc(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    record = await storage.load_instance(held.instance_id)
    assert record is not None
    assert record.started_at.tzinfo is UTC
    assert abs(record.started_at - clock.now()) < timedelta(seconds=60)


async def test_the_current_step_is_the_last_recorded_one(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    await storage.submit(step(held, "b:1"))
    await storage.submit(step(held, "a:1"))
    shown = await storage.get_instance(held.instance_id)
    assert shown is not None
    assert shown["current_activity_id"] == "a:1"


async def test_the_current_step_of_a_parked_instance_is_its_wait(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    await storage.submit(step(held, "a:1"))
    await storage.submit(parked(held, wait("sleep:1")))
    shown = await storage.get_instance(held.instance_id)
    assert shown is not None
    assert shown["current_activity_id"] == "sleep:1"


async def test_the_time_of_the_last_change_follows_steps_and_status(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    times = []
    for write in (step(held), RunReleased(lease(held.instance_id)), finished(held)):
        await storage.submit(write)
        shown = await storage.get_instance(held.instance_id)
        assert shown is not None
        times.append(str(shown["updated_at"]))
    assert times[0] < times[1] == times[2]


async def test_the_live_instance_of_a_chain_is_found_in_an_index(storage: SQLAlchemyStorage) -> None:
    """However many instances of the chain have ended."""
    table = workflow_instances.c
    query = select(table.instance_id).where(table.chain_id == "first", table.status == Status.RUNNING.value)
    assert "ix_workflow_instances_chain_id_status" in await plan_of(storage, query, {})
