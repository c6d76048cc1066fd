from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update

from edda.storage.dialects.base import Attempt
from edda.storage.models import workflow_instances
from edda.storage.records import ClaimedInstance, Lease
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.writes import NotClaimable, RollbackReopened, RunReleased, Verdict
from edda.types import EventType, Status
from tests.storage.batches import apply_batch, apply_within
from tests.support.writes import (
    OTHER,
    OWNER,
    claim,
    claim_due,
    finished,
    new_id,
    parked,
    run_of,
    step,
    unleased,
    wait,
)

# -- whatever is due ---------------------------------------------------------------------


async def test_what_is_due_longest_is_claimed_first(storage: SQLAlchemyStorage) -> None:
    ids = [(await run_of(storage, seconds=-seconds)).instance_id for seconds in (10, 30, 20)]
    claimed = await storage.submit(claim_due(limit=2))
    assert [instance.lease.instance_id for instance in claimed] == [ids[1], ids[2]]


async def test_a_claimed_instance_comes_with_all_that_a_run_needs(storage: SQLAlchemyStorage) -> None:
    new = unleased(input_data='{"n":1}', input_types="{}", lock_timeout_seconds=300)
    await storage.submit(new)
    (claimed,) = await storage.submit(claim_due(owner=OTHER, seconds=60))
    assert claimed.lease == Lease(new.instance_id, OTHER, 1, 60)
    assert (claimed.status, claimed.attempts) == (Status.RUNNING, 0)
    assert (claimed.workflow_name, claimed.input_data, claimed.input_types) == ("order", '{"n":1}', "{}")
    assert claimed.lock_timeout_seconds == 300
    assert await storage.submit(step(claimed.lease)) is Verdict.ACCEPTED


async def test_a_successor_is_claimed_with_the_chain_that_it_belongs_to(storage: SQLAlchemyStorage) -> None:
    first = unleased()
    await storage.submit(first)
    second = unleased(continued_from=first.instance_id, chain_id=first.instance_id)
    await storage.submit(second)
    claimed = await storage.submit(claim_due())
    chains = {instance.lease.instance_id: instance.chain_id for instance in claimed}
    assert chains == {first.instance_id: None, second.instance_id: first.instance_id}


async def test_a_short_lock_timeout_shortens_the_lease(storage: SQLAlchemyStorage) -> None:
    await storage.submit(unleased(lock_timeout_seconds=5))
    (claimed,) = await storage.submit(claim_due(seconds=60))
    assert claimed.lease.seconds == 5
    assert await storage.seconds_until_due(["order"]) == pytest.approx(5, abs=2)


async def test_nothing_is_claimed_before_it_is_due(storage: SQLAlchemyStorage) -> None:
    await run_of(storage, seconds=60)
    held = await run_of(storage)
    await storage.submit(parked(held, wait("a:1", 60)))
    assert await storage.submit(claim_due()) == ()


async def test_other_workflows_are_left_alone_and_hide_nothing(storage: SQLAlchemyStorage) -> None:
    await asyncio.gather(*(storage.submit(unleased(workflow_name="foreign")) for _ in range(200)))
    mine = unleased()
    await storage.submit(mine)
    (claimed,) = await storage.submit(claim_due(limit=10))
    assert claimed.lease.instance_id == mine.instance_id
    assert await storage.submit(claim_due(names=())) == ()


async def test_a_lease_that_ran_out_is_counted_as_a_run_that_died(storage: SQLAlchemyStorage) -> None:
    await run_of(storage, seconds=-1)
    seconds = []
    for attempts in (1, 2, 3):
        (claimed,) = await storage.submit(claim_due(seconds=-1000))
        assert (claimed.attempts, claimed.lease.token) == (attempts, attempts + 1)
        assert claimed.lease.seconds == -1000, "the worker need not know"
        record = await storage.load_instance(claimed.lease.instance_id)
        assert record is not None
        assert record.due_at is not None
        seconds.append((record.due_at - record.updated_at).total_seconds())
    assert seconds[0] == pytest.approx(-1000, abs=0.001)
    assert -999.001 <= seconds[1] <= -997.999
    assert -998.001 <= seconds[2] <= -995.999


async def test_a_lease_handed_back_is_not_counted(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    await storage.submit(RunReleased(held))
    (claimed,) = await storage.submit(claim_due())
    assert claimed.attempts == 0


async def test_a_compensating_instance_stays_compensating(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage, seconds=-1)
    async with storage.gate, storage.engine.begin() as connection:
        await connection.execute(update(workflow_instances).values(status=Status.COMPENSATING.value))
    (claimed,) = await storage.submit(claim_due())
    assert claimed.status is Status.COMPENSATING
    record = await storage.load_instance(held.instance_id)
    assert record is not None
    assert record.status is Status.COMPENSATING


async def test_a_waiting_instance_runs_once_it_is_claimed(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    await storage.submit(parked(held, wait("a:1", -1)))
    await storage.submit(claim_due())
    record = await storage.load_instance(held.instance_id)
    assert record is not None
    assert (record.status, record.locked_by) == (Status.RUNNING, OTHER)


async def test_claimers_of_one_process_share_what_is_due(storage: SQLAlchemyStorage) -> None:
    await asyncio.gather(*(storage.submit(unleased()) for _ in range(30)))
    answers = await asyncio.gather(*(storage.submit(claim_due(limit=4)) for _ in range(10)))
    ids = [claimed.lease.instance_id for answer in answers for claimed in answer]
    assert (len(ids), len(set(ids))) == (30, 30)


async def test_many_claimers_of_two_processes_never_take_the_same_instance(
    two_storages: tuple[SQLAlchemyStorage, SQLAlchemyStorage],
) -> None:
    first, second = two_storages
    await asyncio.gather(*(first.submit(unleased()) for _ in range(200)))

    async def claim_all(storage: SQLAlchemyStorage, owner: str) -> list[ClaimedInstance]:
        mine: list[ClaimedInstance] = []
        while claimed := await storage.submit(claim_due(owner=owner, limit=5)):
            mine += claimed
        return mine

    answers = await asyncio.gather(
        *(claim_all(storage, f"claimer-{n}") for n, storage in enumerate((first, second) * 10))
    )
    claimed = [instance for answer in answers for instance in answer]
    assert len({instance.lease.instance_id for instance in claimed}) == 200
    assert len(claimed) == 200
    accepted = await asyncio.gather(*(first.submit(step(instance.lease)) for instance in claimed))
    assert accepted == [Verdict.ACCEPTED] * 200


# -- one particular instance -------------------------------------------------------------


async def test_a_particular_instance_need_not_be_due(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    await storage.submit(parked(held, wait("a:1", 500)))
    claimed = await storage.submit(claim(held.instance_id))
    assert isinstance(claimed, ClaimedInstance)
    assert (claimed.lease.token, claimed.lease.owner) == (2, OTHER)


async def test_what_cannot_be_claimed_is_told_apart(storage: SQLAlchemyStorage) -> None:
    running, ended = await run_of(storage), await run_of(storage)
    await storage.submit(finished(ended))
    writes = [
        claim(running.instance_id),
        claim(running.instance_id, owner=OWNER),
        claim(ended.instance_id),
        claim("no"),
    ]
    answers = await asyncio.gather(*(storage.submit(write) for write in writes))
    assert answers == [NotClaimable.LEASED, NotClaimable.LEASED, NotClaimable.TERMINAL, NotClaimable.UNKNOWN]


async def test_a_lease_that_ran_out_can_be_claimed(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage, seconds=-1)
    claimed = await storage.submit(claim(held.instance_id))
    assert isinstance(claimed, ClaimedInstance)
    assert claimed.attempts == 1


async def test_a_claim_that_expects_a_token_takes_no_other(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    await storage.submit(parked(held, wait("a:1")))
    assert await storage.submit(claim(held.instance_id, expected_token=0)) is NotClaimable.LEASED
    assert isinstance(await storage.submit(claim(held.instance_id, expected_token=1)), ClaimedInstance)


async def test_of_two_claims_of_an_instance_one_wins(
    two_storages: tuple[SQLAlchemyStorage, SQLAlchemyStorage],
) -> None:
    first, second = two_storages
    for _ in range(30):
        instance_id = new_id()
        await first.submit(unleased(instance_id))
        answers = await asyncio.gather(
            first.submit(claim(instance_id, owner=OWNER)),
            second.submit(claim(instance_id, owner=OTHER)),
            first.submit(claim(instance_id, owner="third")),
        )
        winners = [answer for answer in answers if isinstance(answer, ClaimedInstance)]
        assert len(winners) == 1
        assert answers.count(NotClaimable.LEASED) == 2


# -- when the answer to a commit is lost ----------------------------------------------------


async def _claiming(storage: SQLAlchemyStorage, kind: str) -> Any:
    """A write that leases an instance made for it."""
    held = await run_of(storage)
    if kind == "reopened":
        failed = step(held, "compensation_1")
        await storage.submit(replace(failed, event_type=EventType.COMPENSATION_FAILED))
        await storage.submit(finished(held, Status.FAILED))
        return RollbackReopened(OTHER, held.instance_id, 60)
    await storage.submit(parked(held, wait(seconds=-1 if kind == "due" else 1000)))
    return claim_due() if kind == "due" else claim(held.instance_id, expected_token=1)


KINDS = ["due", "particular", "reopened"]


def _leased(answer: Any) -> Lease:
    (claimed,) = answer if isinstance(answer, tuple) else [answer]
    assert isinstance(claimed, ClaimedInstance)
    return claimed.lease


@pytest.mark.parametrize("kind", KINDS)
async def test_a_claim_knows_again_what_it_has_leased(storage: SQLAlchemyStorage, kind: str) -> None:
    """Else nobody would run the instance until that lease has run out."""
    write = await _claiming(storage, kind)
    answer = await storage.submit(write)
    (again,) = await apply_batch(storage, Attempt.UNCERTAIN, write.unanswered(answer))
    assert again == answer
    assert await storage.submit(step(_leased(again), "more:1")) is Verdict.ACCEPTED


@pytest.mark.parametrize("kind", KINDS)
async def test_a_claim_that_was_not_committed_is_made_anew(storage: SQLAlchemyStorage, kind: str) -> None:
    write = await _claiming(storage, kind)
    transaction = storage.transaction()
    (answer,) = await apply_within(storage, transaction, write)
    await transaction.rollback()
    (again,) = await apply_batch(storage, Attempt.UNCERTAIN, write.unanswered(answer))
    assert again == answer
    assert await storage.submit(step(_leased(again), "more:1")) is Verdict.ACCEPTED


async def test_what_others_have_leased_since_is_theirs(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage, seconds=-1)
    write = claim_due(seconds=-1)
    answer = await storage.submit(write)
    await storage.submit(claim(held.instance_id, owner="third"))
    assert await apply_batch(storage, Attempt.UNCERTAIN, write.unanswered(answer)) == [()]


def test_a_refusal_leaves_nothing_to_know_again() -> None:
    write = claim("none")
    assert write.unanswered(NotClaimable.UNKNOWN) == write
