"""One worker leads: for as long as it can tell the database so, and until it stops."""

from __future__ import annotations

from typing import Any

import pytest

from edda.exceptions import StorageError
from edda.loops import leader
from edda.loops.leader import LeaderLoop
from edda.storage.upkeep_writes import LeadershipClaimed, LeadershipResigned, LeaderTerm
from tests.support.apps import Apps
from tests.support.eventually import eventually


class Database:
    """Grants what it is told to, at a cost of time, and may be away."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.grants = True
        self.is_away = False
        self.takes = 0.0
        self.left = 30.0
        self.writes: list[Any] = []

    async def submit(self, write: Any, *, within: float | None = None) -> Any:
        if self.is_away:
            raise StorageError("away")
        self.writes.append(write)
        self.clock.now += self.takes
        if isinstance(write, LeadershipClaimed):
            return LeaderTerm(self.grants, write.seconds if self.grants else self.left)
        return None


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(leader, "monotonic", clock)
    return clock


@pytest.fixture
def database(clock: Clock) -> Database:
    return Database(clock)


@pytest.fixture
def elections() -> list[str]:
    return []


@pytest.fixture
def loop(database: Database, elections: list[str]) -> LeaderLoop:
    return LeaderLoop(
        database,
        worker_id="me",
        lease_seconds=45,
        heartbeat_seconds=15,
        elected=lambda: elections.append("elected"),
    )


async def test_who_is_granted_a_term_leads_and_renews_it_at_each_heartbeat(
    loop: LeaderLoop, database: Database, elections: list[str]
) -> None:
    assert not loop.leads()
    assert [await loop.round() for _ in range(3)] == [15, 15, 15]
    assert loop.leads()
    assert database.writes == [LeadershipClaimed("me", 45)] * 3
    assert elections == ["elected"]


async def test_a_term_counts_from_before_the_question(
    loop: LeaderLoop, database: Database, clock: Clock
) -> None:
    database.takes = 10
    await loop.round()
    clock.now += 34
    assert loop.leads()
    clock.now += 2
    assert not loop.leads()


async def test_an_answer_that_comes_after_the_term_makes_no_leader(
    loop: LeaderLoop, database: Database, elections: list[str]
) -> None:
    database.takes = 46
    await loop.round()
    assert not loop.leads()
    assert elections == []


async def test_a_leader_that_cannot_reach_the_database_leads_to_the_end_of_its_term_and_no_longer(
    loop: LeaderLoop, database: Database, clock: Clock, elections: list[str]
) -> None:
    await loop.round()
    database.is_away = True
    with pytest.raises(StorageError):
        await loop.round()
    clock.now += 44
    assert loop.leads()
    clock.now += 2
    assert not loop.leads()
    database.is_away = False
    await loop.round()
    assert loop.leads()
    assert elections == ["elected", "elected"]


async def test_a_leader_that_is_refused_ceases_at_once(loop: LeaderLoop, database: Database) -> None:
    await loop.round()
    database.grants = False
    await loop.round()
    assert not loop.leads()


@pytest.mark.parametrize(("left", "least", "most"), [(30.0, 15, 16.5), (4.0, 4, 4.4)])
async def test_who_does_not_lead_asks_again_at_the_heartbeat_or_when_the_term_of_the_other_ends(
    loop: LeaderLoop, database: Database, left: float, least: float, most: float
) -> None:
    database.grants, database.left = False, left
    assert least <= await loop.round() <= most


def test_a_short_lease_is_renewed_three_times(database: Database) -> None:
    loop = LeaderLoop(database, worker_id="me", lease_seconds=3, heartbeat_seconds=15, elected=lambda: None)
    assert loop._heartbeat == 1


async def test_stopping_gives_the_term_back(loop: LeaderLoop, database: Database) -> None:
    await loop.round()
    await loop.stop()
    assert not loop.leads()
    assert database.writes[-1] == LeadershipResigned("me")
    await loop.stop()
    assert database.writes.count(LeadershipResigned("me")) == 1


async def test_stopping_without_a_database_leaves_the_term_to_its_expiry(
    loop: LeaderLoop, database: Database
) -> None:
    await loop.round()
    database.is_away = True
    await loop.stop()
    assert not loop.leads()


async def test_of_several_workers_one_leads_and_another_one_follows_when_it_stops(apps: Apps) -> None:
    """With a lease of an hour, so that nobody follows by its expiry; a worker that is told asks at once."""
    made = [await apps.start(leader_lease_duration=3600, leader_heartbeat_interval=1) for _ in range(3)]
    leading = [app for app in made if app._require_worker().leader.leads()]
    assert len(leading) == 1
    await leading[0].shutdown()
    left = [app for app in made if app is not leading[0]]

    def check() -> None:
        assert [app._require_worker().leader.leads() for app in left].count(True) == 1

    await eventually(check)


async def test_the_options_of_the_app_are_those_of_the_leader(apps: Apps) -> None:
    app = await apps.start(leader_lease_duration=60, leader_heartbeat_interval=5)
    loop = app._require_worker().leader
    assert (loop._lease_seconds, loop._heartbeat) == (60, 5)
