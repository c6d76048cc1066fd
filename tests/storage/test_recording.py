from __future__ import annotations

import asyncio

import pytest

from edda.ids import derived_key
from edda.storage.dialects.base import Attempt
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.writes import (
    AlreadyRecorded,
    EventsAccepted,
    InboxEvent,
    Verdict,
    WaitsEnded,
    WaitsRegistered,
)
from tests.storage.batches import apply_batch
from tests.support.writes import finished, lease, new_id, parked, run_of, step, taken_over, unleased, wait

# -- steps -------------------------------------------------------------------------------


async def test_a_step_is_accepted_once_and_for_all(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    assert await storage.submit(step(held)) is Verdict.ACCEPTED
    assert await storage.submit(step(held)) is Verdict.ACCEPTED
    assert len(await storage.load_history(held.instance_id)) == 1


async def test_another_outcome_of_a_recorded_step_is_answered_with_the_recorded_one(
    storage: SQLAlchemyStorage,
) -> None:
    held = await run_of(storage)
    await storage.submit(step(held, data='{"result":1}'))
    answer = await storage.submit(step(held, data='{"result":2}'))
    assert isinstance(answer, AlreadyRecorded)
    assert answer.record.event_data == '{"result":1}'
    assert [record.event_data for record in await storage.load_history(held.instance_id)] == ['{"result":1}']


async def test_of_two_outcomes_in_one_batch_the_first_stands(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    first, second, third, neighbour = await asyncio.gather(
        storage.submit(step(held, data="1")),
        storage.submit(step(held, data="2")),
        storage.submit(step(held, data="1")),
        storage.submit(step(held, "other:1")),
    )
    assert (first, third, neighbour) == (Verdict.ACCEPTED,) * 3
    assert isinstance(second, AlreadyRecorded)
    assert second.record.event_data == "1"


@pytest.mark.parametrize("change", [{"token": 2}, {"token": 0}, {"owner": "somebody"}])
async def test_a_step_without_the_lease_changes_nothing(
    storage: SQLAlchemyStorage, change: dict[str, object]
) -> None:
    held = await run_of(storage)
    wrong = lease(held.instance_id, **change)  # type: ignore[arg-type]
    good, bad = await asyncio.gather(storage.submit(step(held, "a:1")), storage.submit(step(wrong, "b:1")))
    assert (good, bad) == (Verdict.ACCEPTED, Verdict.LEASE_LOST)
    assert [record.activity_id for record in await storage.load_history(held.instance_id)] == ["a:1"]


async def test_a_step_of_an_unknown_instance_changes_nothing(storage: SQLAlchemyStorage) -> None:
    assert await storage.submit(step(lease("unknown"))) is Verdict.LEASE_LOST
    assert await storage.load_history("unknown") == []


async def test_an_old_lease_is_lost_even_for_a_recorded_step(
    storage: SQLAlchemyStorage,
) -> None:
    old = await run_of(storage, seconds=-1)
    new = await taken_over(storage, old.instance_id)
    await storage.submit(step(new, data="new"))
    assert await storage.submit(step(old, data="old")) is Verdict.LEASE_LOST


async def test_a_late_run_is_not_told_that_the_step_of_another_is_its_own(storage: SQLAlchemyStorage) -> None:
    """Unless it may be: after a commit whose answer was lost."""
    held = await run_of(storage, seconds=-1)
    other = await taken_over(storage, held.instance_id)
    assert await storage.submit(step(other)) is Verdict.ACCEPTED
    for attempt in (Attempt.FIRST, Attempt.REPEATED):
        assert await apply_batch(storage, attempt, step(held)) == [Verdict.LEASE_LOST]
    assert await apply_batch(storage, Attempt.UNCERTAIN, step(held)) == [Verdict.ACCEPTED]


async def test_a_step_is_accepted_until_somebody_takes_the_expired_lease(
    storage: SQLAlchemyStorage,
) -> None:
    held = await run_of(storage, seconds=-1)
    assert await storage.submit(step(held)) is Verdict.ACCEPTED


async def test_after_the_end_no_step_is_recorded(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    await storage.submit(finished(held))
    assert await storage.submit(step(held)) is Verdict.LEASE_LOST


async def test_a_step_ends_its_own_wait_and_no_other(storage: SQLAlchemyStorage) -> None:
    held, other = await run_of(storage), await run_of(storage)
    for run in (held, other):
        await storage.submit(WaitsRegistered(run, (wait("sleep:1"), wait("sleep:2"))))
    await storage.submit(step(held, "sleep:1", ends_wait=True))
    await storage.submit(step(held, "sleep:2"))
    assert [w.activity_id for w in await storage.load_waits(held.instance_id)] == ["sleep:2"]
    assert len(await storage.load_waits(other.instance_id)) == 2


async def test_a_step_without_the_lease_ends_no_wait(storage: SQLAlchemyStorage) -> None:
    old = await run_of(storage, seconds=-1)
    new = await taken_over(storage, old.instance_id)
    await storage.submit(WaitsRegistered(new, (wait("sleep:1"),)))
    assert await storage.submit(step(old, "sleep:1", ends_wait=True)) is Verdict.LEASE_LOST
    assert len(await storage.load_waits(new.instance_id)) == 1


async def test_a_step_recorded_again_still_ends_its_wait(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    await storage.submit(step(held, "sleep:1"))
    await storage.submit(WaitsRegistered(held, (wait("sleep:1"),)))
    assert await storage.submit(step(held, "sleep:1", ends_wait=True)) is Verdict.ACCEPTED
    assert await storage.load_waits(held.instance_id) == []


# -- waits -------------------------------------------------------------------------------


async def test_waits_are_registered_only_under_the_lease(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    wrong = lease(held.instance_id, token=2)
    answers = await asyncio.gather(
        storage.submit(WaitsRegistered(held, (wait("a:1"),))),
        storage.submit(WaitsRegistered(wrong, (wait("b:1"), wait("c:1", replace=True)))),
    )
    assert list(answers) == [Verdict.ACCEPTED, Verdict.LEASE_LOST]
    assert [w.activity_id for w in await storage.load_waits(held.instance_id)] == ["a:1"]


async def test_registering_no_wait_only_asks_for_the_lease(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    assert await storage.submit(WaitsRegistered(held, ())) is Verdict.ACCEPTED


async def test_waits_given_up_are_removed_under_the_lease_alone(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    await storage.submit(WaitsRegistered(held, (wait("a:1"), wait("b:1"), wait("c:1"))))
    wrong = lease(held.instance_id, token=2)
    answers = await asyncio.gather(
        storage.submit(WaitsEnded(held, ("a:1", "c:1"))), storage.submit(WaitsEnded(wrong, ("b:1",)))
    )
    assert list(answers) == [Verdict.ACCEPTED, Verdict.LEASE_LOST]
    assert [w.activity_id for w in await storage.load_waits(held.instance_id)] == ["b:1"]


async def test_a_wait_given_up_no_longer_makes_the_instance_due(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    await storage.submit(WaitsRegistered(held, (wait("early:1", 1), wait("late:1", 500))))
    await storage.submit(WaitsEnded(held, ("early:1",)))
    answer = await storage.submit(parked(held, wait("late:1", 500)))
    assert 300 < (getattr(answer, "due_in", None) or 0) <= 500


# -- events ------------------------------------------------------------------------------


# -- effects -----------------------------------------------------------------------------


async def test_effects_of_a_step_happen_with_it(storage: SQLAlchemyStorage) -> None:
    held, child = await run_of(storage), unleased()
    inner = step(held, "outer:1/pay:1")
    assert await storage.submit(step(held, "outer:1", effects=(inner, child))) is Verdict.ACCEPTED
    recorded = [record.activity_id for record in await storage.load_history(held.instance_id)]
    assert recorded == ["outer:1/pay:1", "outer:1"]
    assert await storage.load_instance(child.instance_id) is not None


async def test_effects_of_a_step_without_the_lease_do_not_happen(storage: SQLAlchemyStorage) -> None:
    held, good = await run_of(storage), await run_of(storage)
    lost, child, other = lease(held.instance_id, token=9), unleased(), unleased()
    answers = await asyncio.gather(
        storage.submit(step(lost, effects=(step(lost, "inner:1"), child))),
        storage.submit(step(good, effects=(other,))),
    )
    assert list(answers) == [Verdict.LEASE_LOST, Verdict.ACCEPTED]
    assert await storage.load_instance(child.instance_id) is None
    assert await storage.load_instance(other.instance_id) is not None
    assert await storage.load_history(held.instance_id) == []


async def test_effects_of_a_step_with_another_recorded_outcome_do_not_happen(
    storage: SQLAlchemyStorage,
) -> None:
    held, child = await run_of(storage), unleased()
    await storage.submit(step(held, data="1"))
    again = await storage.submit(step(held, data="2", effects=(child,)))
    assert isinstance(again, AlreadyRecorded)
    assert await storage.load_instance(child.instance_id) is None


@pytest.mark.parametrize("attempt", [Attempt.REPEATED, Attempt.UNCERTAIN])
async def test_after_a_failed_attempt_effects_happen_once(
    storage: SQLAlchemyStorage, attempt: Attempt
) -> None:
    held = await run_of(storage)
    first, second = unleased(), unleased()
    (answer,) = await apply_batch(storage, attempt, step(held, effects=(step(held, "a:1/b:1"), first)))
    assert answer is Verdict.ACCEPTED
    assert await storage.load_instance(first.instance_id) is not None
    # As when the answer to that very commit was lost: the step stands, nothing is done again.
    (answer,) = await apply_batch(
        storage, Attempt.UNCERTAIN, step(held, effects=(step(held, "a:1/b:1"), second))
    )
    assert answer is Verdict.ACCEPTED
    assert await storage.load_instance(second.instance_id) is None


async def test_of_two_same_steps_in_one_batch_one_has_its_effects(storage: SQLAlchemyStorage) -> None:
    held, first, second = await run_of(storage), unleased(), unleased()
    answers = await apply_batch(
        storage,
        Attempt.REPEATED,
        step(held, effects=(first,)),
        step(held, effects=(second,)),
        step(held, "b:1"),
    )
    assert answers == [Verdict.ACCEPTED] * 3
    assert [record.activity_id for record in await storage.load_history(held.instance_id)] == ["pay:1", "b:1"]
    assert await storage.load_instance(first.instance_id) is not None
    assert await storage.load_instance(second.instance_id) is None


# -- events ------------------------------------------------------------------------------


def event(key: str) -> InboxEvent:
    return InboxEvent(derived_key("shop", key), "shop", "/orders", key, "order.placed")


async def test_an_event_starts_its_instances_once(storage: SQLAlchemyStorage) -> None:
    first, second = new_id(), new_id()
    write = EventsAccepted((event("1"),), (unleased(first), unleased(second)))
    assert await storage.submit(write) == {first, second}
    assert await storage.submit(write) == frozenset()
    claimed = await storage.load_instance(first)
    assert claimed is not None


async def test_a_repeated_event_starts_nothing_even_under_another_id(storage: SQLAlchemyStorage) -> None:
    await storage.submit(EventsAccepted((event("1"),), ()))
    late = new_id()
    assert await storage.submit(EventsAccepted((event("1"),), (unleased(late),))) == frozenset()
    assert await storage.load_instance(late) is None


async def test_of_two_same_events_in_one_batch_the_first_counts(storage: SQLAlchemyStorage) -> None:
    first, second, other = new_id(), new_id(), new_id()
    answers = await asyncio.gather(
        storage.submit(EventsAccepted((event("1"),), (unleased(first),))),
        storage.submit(EventsAccepted((event("1"),), (unleased(second),))),
        storage.submit(EventsAccepted((event("2"),), (unleased(other),))),
    )
    assert list(answers) == [{first}, frozenset(), {other}]
    assert await storage.load_instance(second) is None


async def test_an_existing_instance_is_left_as_it_is(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage, input_data='{"mine":1}')
    fresh = new_id()
    write = EventsAccepted((event("1"),), (unleased(held.instance_id), unleased(fresh)))
    assert await storage.submit(write) == {fresh}
    record = await storage.load_instance(held.instance_id)
    assert record is not None
    assert record.input_data == '{"mine":1}'


async def test_workers_that_get_one_event_start_it_once(
    two_storages: tuple[SQLAlchemyStorage, SQLAlchemyStorage],
) -> None:
    for n in range(20):
        write = EventsAccepted((event(str(n)),), (unleased(f"order-from-event-{n}"),))
        answers = await asyncio.gather(*(storage.submit(write) for storage in two_storages for _ in range(3)))
        assert sorted(map(len, answers)) == [0, 0, 0, 0, 0, 1]
