"""Workers behind a real pgbouncer that pools transactions: fewer connections than clients, and no LISTEN."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from tests.support.cluster import Cluster, Start
from tests.support.durable_programs import entries
from tests.support.notifications import on_postgresql
from tests.support.pgbouncer import CONNECTIONS, pgbouncer_to
from tests.support.reaper import Reaper
from tests.support.writes import finished, run_of, step

DEAF = "No notifications of other processes, polling instead: they do not arrive"
PLANNER, WAITING = "enable_seqscan", "lock_timeout"


@pytest.fixture
async def behind(database_url: str, reaper: Reaper) -> AsyncIterator[str]:
    """The URL of the database through the proxy."""
    async with pgbouncer_to(database_url, reaper) as url:
        yield url


@on_postgresql
async def test_workers_do_their_work_and_look_for_it_themselves(cluster: Cluster, behind: str) -> None:
    """Told of nothing, they say so once each; nothing else is missing."""
    storage = await cluster.storage()
    async with storage.engine.begin() as connection:
        await connection.run_sync(entries.metadata.create_all)
    starts = (Start("five_steps", {}, 5), Start("enters", {}, 2), Start("sleeps", {"seconds": 0.1}))
    workers = [await cluster.worker(*starts, url=behind, notify_fallback_interval=3600) for _ in range(2)]
    for worker in workers:
        await worker.wait_for_line(DEAF)
    await cluster.insert_due("five_steps", {}, 25)
    await cluster.all_end(41)
    assert [await worker.terminate() for worker in workers] == [0, 0]
    assert [worker.output.count(DEAF) for worker in workers] == [1, 1]


@on_postgresql
@pytest.mark.parametrize("brings_its_engine", [False, True])
async def test_what_the_writer_sets_stays_in_its_transactions(behind: str, brings_its_engine: bool) -> None:
    """Others are given its connections."""
    engine = create_async_engine(behind.replace("postgresql", "postgresql+asyncpg", 1))
    storage = SQLAlchemyStorage(engine if brings_its_engine else behind)
    await storage.open(migrate=True)
    for _ in range(3):
        held = await run_of(storage)
        await storage.submit(step(held))
        await storage.submit(finished(held))
    assert storage._writer is not None
    within = await storage._writer._committer.commit(
        lambda connection: [connection.scalar(text(f"SHOW {name}")) for name in (PLANNER, WAITING)]
    )
    assert within == ["off", "10s"]
    assert await _settings_of_all(storage.engine) == {("on", "0")}
    await storage.close()
    await engine.dispose()


async def _settings_of_all(engine: AsyncEngine) -> set[tuple[str, str]]:
    """What others find on the connections of the proxy: each of these transactions has one."""
    everybody = asyncio.Barrier(CONNECTIONS)

    async def look() -> tuple[str, str]:
        async with engine.begin() as connection:
            found = [str(await connection.scalar(text(f"SHOW {name}"))) for name in (PLANNER, WAITING)]
            await everybody.wait()
        return found[0], found[1]

    return set(await asyncio.gather(*(look() for _ in range(CONNECTIONS))))


@on_postgresql
async def test_a_session_reads_rows_as_they_come(behind: str) -> None:
    """One statement while another one's rows are still on their way."""
    storage = SQLAlchemyStorage(behind)
    await storage.open(migrate=True)
    session = storage.transaction().session
    async with session.begin():
        numbers = await session.stream_scalars(text("SELECT generate_series(1, 200)"))
        found = [number + await session.scalar(text("SELECT 1")) async for number in numbers]
    await session.close()
    assert found == list(range(2, 202))
    await storage.close()
