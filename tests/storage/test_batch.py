from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, event

from edda.storage.dialects.base import Attempt
from edda.storage.records import Lease
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.writes import (
    DefinitionRegistered,
    EventsAccepted,
    InboxEvent,
    InboxPurged,
    LeasesRenewed,
    RunReleased,
    Verdict,
    WaitsEnded,
    WaitsRegistered,
    Write,
)
from edda.types import EventType, Status
from tests.storage.batches import apply_batch
from tests.support.writes import (
    OTHER,
    claim,
    claim_due,
    finished,
    lease,
    leased,
    parked,
    recurred,
    run_of,
    step,
    unleased,
    wait,
)


@contextmanager
def statements() -> Iterator[list[str]]:
    """The statements that reach any database in the block."""
    seen: list[str] = []

    def note(_1: object, _2: object, text: str, _3: object, _4: object, _5: object) -> None:
        seen.append(text)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


async def _apply(storage: SQLAlchemyStorage, writes: list[Write[Any]]) -> list[Any]:
    return await apply_batch(storage, Attempt.FIRST, *writes)


FAILURE = {"activity_id": "end", "event_type": EventType.WORKFLOW_FAILED, "event_data": "{}"}

# Writes that need nothing before them, from a number.
FRESH: dict[str, Callable[[str], Write[Any]]] = {
    "definition": lambda number: DefinitionRegistered(f"order-{number}", "hash", "source"),
    "instance": unleased,
    "event": lambda number: EventsAccepted(
        (InboxEvent(f"{number:0>64}", "s", "s", "1", "t"),), (unleased(),)
    ),
}

# Writes of a run, from its lease.
OF_A_RUN: dict[str, Callable[[Lease], Write[Any]]] = {
    "step": step,
    "step that ends a wait": lambda held: step(held, ends_wait=True),
    "waits": lambda held: WaitsRegistered(held, (wait("a:1", 5), wait("b:1"))),
    "waits given up": lambda held: WaitsEnded(held, ("a:1", "b:1")),
    "parked": lambda held: parked(held, wait("a:1", 5), wait("b:1")),
    "finished": finished,
    "failed": lambda held: finished(held, Status.FAILED, **FAILURE),
    "recurred": recurred,
    "released": RunReleased,
}


async def _writes(storage: SQLAlchemyStorage, kind: str, count: int) -> list[Write[Any]]:
    """Writes of a kind that concern so many runs, whose instances are there."""
    if kind in FRESH:
        return [FRESH[kind](f"{count}-{number}") for number in range(count)]
    if kind == "forgotten":
        await _apply(storage, [FRESH["event"](f"{count}-{number}") for number in range(count)])
        return [InboxPurged(-60.0, count)]
    runs = [lease() for _ in range(count)]
    await _apply(storage, [leased(held) for held in runs])
    if kind in OF_A_RUN:
        return [OF_A_RUN[kind](held) for held in runs]
    if kind == "renewed":
        return [LeasesRenewed(tuple(runs))]
    await _apply(storage, [parked(held, wait("a:1", -1)) for held in runs])
    return [claim(held.instance_id) for held in runs] if kind == "claimed" else [claim_due(limit=count)]


@pytest.mark.parametrize(
    ("kind", "cost"),
    [
        ("definition", 1),
        ("instance", 1),
        ("event", 2),
        ("step", 1),
        ("step that ends a wait", 2),
        ("waits", 1),
        ("waits given up", 2),
        ("parked", 3),
        ("finished", 2),
        ("failed", 3),
        ("recurred", 4),
        ("released", 1),
        ("renewed", 1),
        ("claimed", 2),
        ("due", 2),
        ("forgotten", 2),
    ],
)
async def test_a_kind_of_write_costs_the_same_statements_for_one_and_for_many(
    storage: SQLAlchemyStorage, kind: str, cost: int
) -> None:
    for count in (1, 40):
        writes = await _writes(storage, kind, count)
        with statements() as seen:
            await _apply(storage, writes)
        assert len(seen) == cost, seen


async def test_answers_are_in_the_order_of_the_writes(storage: SQLAlchemyStorage) -> None:
    held, other = await run_of(storage), await run_of(storage)
    lost, new = lease(other.instance_id, token=9), unleased()
    writes: list[Write[Any]] = [
        step(lost),
        new,
        step(held),
        LeasesRenewed((lost,)),
        finished(other),
        step(held),
    ]
    answers = await _apply(storage, writes)
    accepted, refused = Verdict.ACCEPTED, Verdict.LEASE_LOST
    assert answers == [refused, True, accepted, {other.instance_id: refused}, accepted, accepted]


async def test_a_claim_takes_what_the_same_batch_hands_back(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    claimed, released = await _apply(storage, [claim_due(), RunReleased(held)])
    assert released is Verdict.ACCEPTED
    assert [(one.lease.instance_id, one.lease.owner) for one in claimed] == [(held.instance_id, OTHER)]


async def test_many_concurrent_writes_cost_few_commits(storage: SQLAlchemyStorage) -> None:
    runs = await asyncio.gather(*(run_of(storage) for _ in range(50)))
    with statements() as seen:
        answers = await asyncio.gather(
            *(storage.submit(step(held, f"s:{n}")) for n in range(10) for held in runs)
        )
    assert answers == [Verdict.ACCEPTED] * 500
    assert len(seen) <= 3


async def test_what_is_no_write_is_refused_by_name(storage: SQLAlchemyStorage) -> None:
    class Wish(Write[None]):
        pass

    with pytest.raises(TypeError, match="not a write: Wish"):
        await _apply(storage, [Wish()])
