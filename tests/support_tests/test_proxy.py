from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tests.support.databases import Databases, ServerKind
from tests.support.proxy import CommitFault, FaultProxy, proxy_to
from tests.support.server import DatabaseServer

LOST = (DBAPIError, OSError)


class Setup:
    """A table on a server, reached through a proxy and, to look what is true, directly."""

    def __init__(self, server: DatabaseServer, database: str, proxy: FaultProxy) -> None:
        self.proxy = proxy
        self.through_proxy = engine(proxy.url_for(database))
        self.direct = engine(server.url_for(database))

    async def add(self, number: int) -> None:
        async with self.through_proxy.begin() as connection:
            await connection.execute(text("INSERT INTO numbers VALUES (:number)"), {"number": number})

    async def numbers(self) -> list[int]:
        async with self.direct.connect() as connection:
            return list(await connection.scalars(text("SELECT number FROM numbers ORDER BY number")))

    async def open(self) -> None:
        async with self.direct.begin() as connection:
            await connection.execute(text("CREATE TABLE numbers (number INTEGER)"))

    async def close(self) -> None:
        await self.through_proxy.dispose()
        await self.direct.dispose()


def engine(url: str) -> AsyncEngine:
    parsed = make_url(url)
    driver = {"postgresql": "postgresql+asyncpg", "mysql": "mysql+aiomysql"}[parsed.get_backend_name()]
    return create_async_engine(parsed.set(drivername=driver), pool_pre_ping=True)


@pytest.fixture(params=["postgresql", "mysql"])
async def setup(request: pytest.FixtureRequest, databases: Databases) -> AsyncIterator[Setup]:
    kind: ServerKind = request.param
    server = await databases.shared_server(kind)
    database = await server.create_database()
    async with proxy_to(server) as proxy:
        setup = Setup(server, database, proxy)
        await setup.open()
        yield setup
        await setup.close()
    await server.drop_database(database)


async def test_what_is_not_disturbed_passes(setup: Setup) -> None:
    await setup.add(1)
    await setup.add(2)
    assert await setup.numbers() == [1, 2]
    assert setup.proxy.commits == 2


async def test_a_commit_whose_answer_is_lost_has_happened_although_the_client_sees_an_error(
    setup: Setup,
) -> None:
    setup.proxy.fail_next_commit(CommitFault.ANSWER_LOST)
    with pytest.raises(LOST):
        await setup.add(1)
    assert await setup.numbers() == [1]


async def test_a_commit_whose_request_is_lost_has_not_happened(setup: Setup) -> None:
    setup.proxy.fail_next_commit(CommitFault.REQUEST_LOST)
    with pytest.raises(LOST):
        await setup.add(1)
    await setup.add(2)
    assert await setup.numbers() == [2]


async def test_faults_of_commits_are_used_up_one_by_one(setup: Setup) -> None:
    setup.proxy.fail_next_commit(CommitFault.REQUEST_LOST)
    setup.proxy.fail_next_commit(CommitFault.ANSWER_LOST)
    for number in (1, 2):
        with pytest.raises(LOST):
            await setup.add(number)
    await setup.add(3)
    assert await setup.numbers() == [2, 3]


async def test_a_cut_breaks_connections_and_new_ones_work(setup: Setup) -> None:
    async with setup.through_proxy.connect() as connection:
        await connection.execute(text("SELECT 1"))
        setup.proxy.cut()
        with pytest.raises(LOST):
            await connection.execute(text("SELECT 1"))
        await connection.invalidate()
    await setup.add(1)
    assert await setup.numbers() == [1]


async def test_while_it_refuses_nobody_can_connect(setup: Setup) -> None:
    setup.proxy.refuse()
    with pytest.raises(LOST):
        await setup.add(1)
    setup.proxy.accept()
    await setup.add(2)
    assert await setup.numbers() == [2]


async def test_a_black_hole_withholds_everything_until_it_is_healed(setup: Setup) -> None:
    await setup.add(1)
    setup.proxy.black_hole()
    async with asyncio.TaskGroup() as group:
        blocked = group.create_task(setup.add(2))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(blocked), 0.2)
        assert await setup.numbers() == [1]
        setup.proxy.heal()
    assert await setup.numbers() == [1, 2]


async def test_latency_delays_each_direction(setup: Setup) -> None:
    async with setup.through_proxy.connect() as connection:
        await connection.execute(text("SELECT 1"))
        setup.proxy.latency = 0.05
        before = time.monotonic()
        await connection.execute(text("SELECT 1"))
        assert time.monotonic() - before >= 0.1
        setup.proxy.latency = 0.0


async def test_a_server_that_is_down_looks_like_a_lost_connection(private_server: DatabaseServer) -> None:
    database = await private_server.create_database()
    async with proxy_to(private_server) as proxy:
        await private_server.stop()
        through_proxy = engine(proxy.url_for(database))
        with pytest.raises(LOST):
            await through_proxy.connect()
        await through_proxy.dispose()
