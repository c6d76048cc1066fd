from __future__ import annotations

import asyncio

import pytest
import time_machine

from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.upkeep_writes import LeadershipClaimed, LeadershipResigned, LeaderTerm
from tests.support.statements import counted


def claim(owner: str, seconds: float = 60.0) -> LeadershipClaimed:
    return LeadershipClaimed(owner, seconds)


async def test_the_first_who_asks_leads_and_the_others_hear_for_how_long(storage: SQLAlchemyStorage) -> None:
    assert await storage.submit(claim("a")) == LeaderTerm(granted=True, seconds=60)
    refused = await storage.submit(claim("b"))
    assert not refused.granted
    assert refused.seconds == pytest.approx(60, abs=30)
    assert (await storage.submit(claim("a"))).granted


async def test_a_term_that_is_over_is_anybodys(storage: SQLAlchemyStorage) -> None:
    assert (await storage.submit(claim("a", seconds=-1))).granted
    assert (await storage.submit(claim("b"))).granted
    assert not (await storage.submit(claim("a"))).granted


async def test_a_leader_that_resigns_is_followed_at_once(storage: SQLAlchemyStorage) -> None:
    await storage.submit(claim("a"))
    await storage.submit(LeadershipResigned("a"))
    assert (await storage.submit(claim("b"))).granted


async def test_only_the_leader_can_resign(storage: SQLAlchemyStorage) -> None:
    await storage.submit(claim("a"))
    await storage.submit(LeadershipResigned("b"))
    assert not (await storage.submit(claim("b"))).granted


async def test_of_all_who_ask_at_once_one_leads(
    two_storages: tuple[SQLAlchemyStorage, SQLAlchemyStorage],
) -> None:
    """From an empty table, from a term that is over, and in one batch."""
    for seconds in (-1.0, -1.0, 60.0):
        terms = await asyncio.gather(
            *(each.submit(claim(f"{n}{each}", seconds)) for n in range(3) for each in two_storages)
        )
        if seconds > 0:
            assert [term.granted for term in terms].count(True) == 1


@pytest.mark.parametrize("any_url", ["postgresql", "mysql"], indirect=True)
async def test_the_clocks_of_workers_do_not_matter(storage: SQLAlchemyStorage) -> None:
    """Where there is a server it is the server's clock that counts."""
    await storage.submit(claim("a", seconds=300))
    with time_machine.travel(86_400 * 365 * 30):
        assert not (await storage.submit(claim("b"))).granted
        await storage.submit(LeadershipResigned("a"))
        assert (await storage.submit(claim("b", seconds=300))).granted
    assert not (await storage.submit(claim("a"))).granted


async def test_staying_the_leader_costs_one_statement(storage: SQLAlchemyStorage) -> None:
    await storage.submit(claim("a"))
    with counted() as statements:
        await storage.submit(claim("a"))
    assert len(statements.containing("workflow_leader")) == 1
    assert statements.commits == 1
