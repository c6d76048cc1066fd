from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from edda.storage import batch, fence
from edda.storage.dialects.base import Attempt
from edda.storage.records import ClaimedInstance, Lease
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.writes import LeasesRenewed, Verdict, WaitsRegistered, Write
from tests.support.writes import OTHER, claim, claim_due, lease, run_of, step, wait


def test_the_values_of_a_lease_are_in_the_order_of_its_columns() -> None:
    assert tuple(fence.COLUMNS) == ("instance_id", "token", "owner")
    assert fence.key_of(lease("order-1", owner="me", token=7)) == ("order-1", 7, "me")


async def test_no_row_of_an_old_token_follows_a_claim(
    two_storages: tuple[SQLAlchemyStorage, SQLAlchemyStorage],
) -> None:
    """One worker records as fast as it can while another takes its expired lease over."""
    first, second = two_storages
    for _ in range(15):
        old = await run_of(first, seconds=-1)
        claimed, recorded = await asyncio.gather(_take_over(second, old.instance_id), _record_all(first, old))
        # Everything accepted from the old holder was there before the new one looked.
        assert recorded == claimed


WRITES: dict[str, Callable[[Lease], Write[Any]]] = {
    "step": step,
    "wait": lambda held: WaitsRegistered(held, (wait(),)),
    "wait that replaces": lambda held: WaitsRegistered(held, (wait(replace=True),)),
    "renewal": lambda held: LeasesRenewed((lease(held.instance_id, seconds=-1),)),
}


@pytest.mark.parametrize("kind", WRITES)
@pytest.mark.parametrize("empty_database_url", ["postgresql", "mysql"], indirect=True)
async def test_nobody_claims_an_instance_between_a_write_and_its_commit(
    two_storages: tuple[SQLAlchemyStorage, SQLAlchemyStorage], kind: str
) -> None:
    first, second = two_storages
    old = await run_of(first, seconds=-1)
    async with first.engine.connect() as connection:
        writes = [WRITES[kind](old)]
        applied = await connection.run_sync(batch.apply, first.dialect, writes, Attempt.FIRST)
        (answer,) = applied.answers
        assert answer in (Verdict.ACCEPTED, {})
        assert await second.submit(claim_due()) == ()
        particular = asyncio.create_task(second.submit(claim(old.instance_id)))
        await connection.commit()
    # It waited for the commit, and then found a lease that had run out.
    assert isinstance(await particular, ClaimedInstance)


async def _record_all(storage: SQLAlchemyStorage, held: Lease) -> set[str]:
    accepted: set[str] = set()

    async def one(n: int) -> None:
        write = step(held, f"old:{n}") if n % 2 else WaitsRegistered(held, (wait(f"old:{n}"),))
        if await storage.submit(write) is Verdict.ACCEPTED:
            accepted.add(f"old:{n}")

    for start in range(0, 40, 4):
        await asyncio.gather(*(one(n) for n in range(start, start + 4)))
    return accepted


async def _take_over(storage: SQLAlchemyStorage, instance_id: str) -> set[str]:
    claimed = await storage.submit(claim(instance_id, owner=OTHER))
    assert isinstance(claimed, ClaimedInstance)
    found = {record.activity_id for record in await storage.load_history(instance_id)}
    return found | {wait.activity_id for wait in await storage.load_waits(instance_id)}
