"""Parked bodies that move on by themselves take their lease again, once."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from edda.regaining import take_lease_again
from edda.residents import Residents
from edda.storage.records import Lease
from edda.storage.writes import NotClaimable


class ParkedRun:
    def __init__(self) -> None:
        self.instance_id, self.lease = "i", Lease("i", "me", 1, 30)
        self.leased = self.ended = False

    def has_lease(self) -> bool:
        return self.leased

    def take_lease(self, lease: Lease) -> None:
        self.lease, self.leased = lease, True

    def trust_lease_from(self, _: float) -> None: ...

    def stop(self, _: Exception) -> None:
        self.ended = True


class Claiming:
    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.tokens: list[int | None] = []
        self.dismissed: list[Any] = []
        self.driven: list[Any] = []

    async def claim(self, _: str, *, token: int | None = None) -> Any:
        self.tokens.append(token)
        return self.answer

    async def load_waits(self, _: Any) -> None: ...

    def spawn(self, work: Any) -> Any:
        return asyncio.get_running_loop().create_task(work)

    async def drive(self, execution: Any) -> None:
        self.driven.append(execution)

    def dismiss(self, execution: Any) -> None:
        self.dismissed.append(execution)


GRANTED = SimpleNamespace(lease=Lease("i", "me", 2, 30))


def parked_execution() -> Any:
    return SimpleNamespace(run=ParkedRun(), undecided=None, driver=None)


async def test_it_is_driven_under_the_next_lease_and_no_resident_any_more() -> None:
    execution, engine, residents = parked_execution(), Claiming(GRANTED), Residents(1)
    residents.keep(execution)
    await take_lease_again(execution, residents, engine)
    await asyncio.sleep(0)
    assert (engine.tokens, engine.driven, len(residents)) == ([1], [execution], 0)


async def test_it_ends_if_another_worker_has_it() -> None:
    execution, engine = parked_execution(), Claiming(NotClaimable.LEASED)
    await take_lease_again(execution, Residents(1), engine)
    assert (engine.driven, engine.dismissed) == ([], [execution])


@pytest.mark.parametrize("resumed", [True, False])
async def test_it_waits_until_it_is_known_whether_a_message_resumes_it(*, resumed: bool) -> None:
    execution, engine = parked_execution(), Claiming(GRANTED)
    execution.undecided = undecided = asyncio.get_running_loop().create_future()
    regaining = asyncio.ensure_future(take_lease_again(execution, Residents(1), engine))
    await asyncio.sleep(0)
    assert engine.tokens == []
    execution.run.leased, execution.undecided = resumed, None
    undecided.set_result(None)
    await regaining
    assert engine.tokens == ([] if resumed else [1])
