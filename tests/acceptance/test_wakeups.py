"""What one process commits another one finds: told on PostgreSQL, by looking elsewhere."""

from __future__ import annotations

from sqlalchemy import make_url, text

from tests.support.cluster import Cluster, Start
from tests.support.databases import Databases
from tests.support.eventually import eventually
from tests.support.notifications import TOLD, listeners_reach, on_postgresql
from tests.support.proxy import proxy_to

OTHER_CONNECTIONS = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


@on_postgresql
async def test_a_worker_is_told_of_each_instance_that_another_process_stores(cluster: Cluster) -> None:
    """One after another: it would look by itself in an hour."""
    await cluster.worker(**TOLD)
    await listeners_reach(cluster, 1)
    for count in range(1, 13):
        await cluster.insert_due("five_steps", {}, 1, first=count)
        await cluster.all_end(count)


@on_postgresql
async def test_of_a_burst_none_is_left_over(cluster: Cluster) -> None:
    """More than a batch, for two workers that are told at the same time."""
    workers = [await cluster.worker(**TOLD) for _ in range(2)]
    await listeners_reach(cluster, 2)
    await cluster.insert_due("five_steps", {}, 25)
    await cluster.all_end(25)
    await cluster.check_steps(5, executed_once=True)
    assert [await worker.terminate() for worker in workers] == [0, 0]


@on_postgresql
async def test_after_a_cut_a_worker_looks_at_everything(
    cluster: Cluster, databases: Databases, database_url: str
) -> None:
    """What was stored while nobody could be told is found as soon as the way is free."""
    async with proxy_to(await databases.shared_server("postgresql")) as proxy:
        far = proxy.url_for(make_url(database_url).database or "")
        await cluster.storage()
        worker = await cluster.worker(url=far, **TOLD)
        await listeners_reach(cluster, 1)
        proxy.refuse()
        await worker.wait_for_line("No notifications of other processes, polling instead")
        await cluster.insert_due("five_steps", {}, 5)
        proxy.accept()
        await cluster.all_end(5)
        await listeners_reach(cluster, 1)
        await cluster.insert_due("five_steps", {}, 5, first=6)
        await cluster.all_end(10)
        assert await worker.terminate() == 0


async def test_a_worker_finds_what_another_process_stores_at_its_next_look_at_the_latest(
    cluster: Cluster,
) -> None:
    await cluster.worker(**TOLD, use_listen_notify=False)
    await cluster.insert_due("five_steps", {}, 1)
    await cluster.all_end(1)


@on_postgresql
async def test_what_a_stopping_worker_hands_back_another_one_is_told_of(cluster: Cluster) -> None:
    first = await cluster.worker(**TOLD, HOLD=2, drain_seconds=0.2)
    await cluster.insert_due("five_steps", {}, 3)
    await cluster.effects_reach(6)
    await cluster.worker(**TOLD)
    await listeners_reach(cluster, 2)
    assert await first.terminate() == 0
    await cluster.all_end(3)


@on_postgresql
async def test_a_timer_of_a_worker_that_has_stopped_is_fired_by_another(cluster: Cluster) -> None:
    """The other one had looked before there was a timer."""
    await cluster.worker(**TOLD)
    first = await cluster.worker(Start("sleeps", {"seconds": 3.0}), **TOLD)
    await listeners_reach(cluster, 2)
    await cluster.effects_reach(1, of=first)
    assert await first.terminate() == 0
    await cluster.all_end(1)


@on_postgresql
async def test_an_idle_worker_has_three_connections(cluster: Cluster) -> None:
    """One that writes, one that listens, and one of the pool that looks."""
    storage = await cluster.storage()
    await cluster.worker(**TOLD)
    await listeners_reach(cluster, 1)
    writer_of_the_test = 1

    async def check() -> None:
        async with storage.engine.connect() as connection:
            assert 2 <= await connection.scalar(OTHER_CONNECTIONS) - writer_of_the_test <= 3

    await eventually(check)
