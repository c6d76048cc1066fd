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
from edda.storage.writes import Verdict

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
    verdict: Verdict = Verdict.LEASE_LOST
    error: Exception | None = None
    renewed: tuple[Lease, ...] = ()

    async def submit(self, write: Any, *, within: float | None = None) -> dict[str, Verdict]:
        self.renewed = write.leases
        if self.error is not None:
            raise self.error
        return dict.fromkeys(self.lost, self.verdict)


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


async def test_a_run_that_was_cancelled_goes_on_under_the_next_token() -> None:
    storage = Storage(lost=frozenset({"a"}), verdict=Verdict.CANCEL_REQUESTED)
    leases = HeldLeases(storage)  # type: ignore[arg-type]
    asked = run("a")
    leases.hold(asked)
    await leases.renew()
    assert (asked.cancelled, asked.stopped) == (True, False)
    storage.lost = frozenset()
    assert await leases.renew() == 1
    assert [lease.token for lease in storage.renewed] == [2]


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


async def test_what_is_being_loaded_is_renewed_until_its_run_is_held() -> None:
    storage = Storage()
    leases = HeldLeases(storage)  # type: ignore[arg-type]
    one = run("a")
    with leases.loading(one.lease) as loading:
        assert await leases.renew() == 1
        leases.hold(one)
        assert len(leases) == 1
    assert len(leases) == 1
    with leases.loading(run("b").lease):
        assert len(leases) == 2
    assert len(leases) == 1
    assert loading.lease_left() > 0


async def test_what_has_lost_its_lease_while_it_was_loaded_is_not_renewed_for_ever() -> None:
    storage = Storage(error=StorageError("away"))
    leases = HeldLeases(storage)  # type: ignore[arg-type]
    with leases.loading(run("a", seconds=0).lease):
        with pytest.raises(StorageError):
            await leases.renew()
        assert len(leases) == 0


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
