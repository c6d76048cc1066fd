"""The leases that a worker holds."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from edda.exceptions import LockLostError, StorageError
from edda.hooks import HookDispatcher
from edda.leases import HeldLeases
from edda.run import Run, Services
from edda.storage.records import Lease

SERVICES: Any = Services(
    storage=None,  # type: ignore[arg-type]
    worker_id="me",
    hooks=HookDispatcher(None),
    default_retry_policy=None,  # type: ignore[arg-type]
    threads=None,  # type: ignore[arg-type]
)


class Storage(SimpleNamespace):
    """Answers the renewal with the instances that are lost, or fails."""

    lost: frozenset[str] = frozenset()
    error: Exception | None = None
    renewed: tuple[Lease, ...] = ()

    async def submit(self, write: Any, *, within: float | None = None) -> frozenset[str]:
        self.renewed = write.leases
        if self.error is not None:
            raise self.error
        return self.lost


def run(instance_id: str, seconds: float = 30) -> Run:
    return Run(Lease(instance_id, "me", 1, seconds), workflow_name="w", services=SERVICES)


async def test_all_leases_are_renewed_in_one_write() -> None:
    storage = Storage()
    leases = HeldLeases(storage)  # type: ignore[arg-type]
    runs = [run("a"), run("b")]
    for each in runs:
        leases.hold(each)
    assert await leases.renew() == 2
    assert storage.renewed == tuple(each.lease for each in runs)


async def test_a_run_that_lost_its_lease_is_stopped_and_the_others_go_on() -> None:
    leases = HeldLeases(Storage(lost=frozenset({"a"})))  # type: ignore[arg-type]
    lost, kept = run("a"), run("b")
    leases.hold(lost)
    leases.hold(kept)
    assert await leases.renew() == 1
    assert isinstance(lost.stopped_by, LockLostError)
    assert not kept.stopped


async def test_while_the_database_is_away_only_runs_out_of_time_are_stopped() -> None:
    leases = HeldLeases(Storage(error=StorageError("away")))  # type: ignore[arg-type]
    over, good = run("a", seconds=0), run("b")
    leases.hold(over)
    leases.hold(good)
    with pytest.raises(StorageError):
        await leases.renew()
    assert over.stopped
    assert not good.stopped


async def test_what_was_dropped_is_not_renewed() -> None:
    storage = Storage()
    leases = HeldLeases(storage)  # type: ignore[arg-type]
    one = run("a")
    leases.hold(one)
    leases.drop(one)
    leases.drop(one)
    assert (await leases.renew(), len(leases), storage.renewed) == (0, 0, ())


async def test_dropping_an_older_run_keeps_the_newer_one_of_the_instance() -> None:
    leases = HeldLeases(Storage())  # type: ignore[arg-type]
    older, newer = run("a"), run("a")
    leases.hold(older)
    leases.hold(newer)
    leases.drop(older)
    assert len(leases) == 1


def test_the_shortest_lease_is_known_and_each_length_told() -> None:
    told: list[float] = []
    leases = HeldLeases(Storage())  # type: ignore[arg-type]
    leases.on_held(told.append)
    assert leases.shortest(30) == 30
    leases.hold(run("a", 20))
    leases.hold(run("b", 5))
    assert (leases.shortest(30), told) == (5, [20, 5])
