from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, text

from edda.storage.committers import Committer, ThreadCommitter
from edda.storage.connection import create_engine as create_async
from edda.storage.connection import parse
from edda.storage.dialects.base import Failure
from tests.support.proxy import proxy_to
from tests.support.server import DatabaseServer


def committer_for(url_text: str) -> Committer:
    url, dialect = parse(url_text)
    return dialect.create_committer(create_async(url, dialect, {}), asyncio.Lock())


def create(connection: Connection) -> None:
    connection.execute(text("CREATE TABLE numbers (n INTEGER)"))


def insert(connection: Connection) -> str:
    connection.execute(text("INSERT INTO numbers VALUES (1)"))
    return "done"


def count(connection: Connection) -> int:
    return int(connection.scalar(text("SELECT count(*) FROM numbers")) or 0)


async def test_a_job_is_committed_and_its_result_returned(database_url: str) -> None:
    committer = committer_for(database_url)
    await committer.commit(create)
    assert await committer.commit(insert) == "done"
    await committer.reset()
    assert await committer.commit(count) == 1
    await committer.close()


async def test_a_job_that_raises_leaves_nothing_behind(database_url: str) -> None:
    committer = committer_for(database_url)
    await committer.commit(create)

    def fail(connection: Connection) -> None:
        insert(connection)
        raise LookupError("no")

    with pytest.raises(LookupError, match="no"):
        await committer.commit(fail)
    assert await committer.commit(count) == 0
    await committer.close()


async def test_closing_twice_and_closing_unused_is_harmless(database_url: str) -> None:
    committer = committer_for(database_url)
    await committer.close()
    await committer.reset()
    await committer.close()


async def test_the_thread_ends_with_its_committer(tmp_path: Path) -> None:
    committer = ThreadCommitter(create_engine(f"sqlite:///{tmp_path / 'x.db'}"), asyncio.Lock())
    names = await committer.commit(lambda _: {thread.name for thread in threading.enumerate()})
    assert "edda-writer" in names
    await committer.close()
    assert "edda-writer" not in {thread.name for thread in threading.enumerate()}


async def test_a_closed_committer_can_begin_anew(tmp_path: Path) -> None:
    committer = ThreadCommitter(create_engine(f"sqlite:///{tmp_path / 'x.db'}"), asyncio.Lock())
    await committer.commit(create)
    await committer.close()
    assert await committer.commit(count) == 0
    await committer.close()


async def test_commits_of_a_thread_wait_for_the_gate(tmp_path: Path) -> None:
    gate = asyncio.Lock()
    committer = ThreadCommitter(create_engine(f"sqlite:///{tmp_path / 'x.db'}"), gate)
    async with gate:
        task = asyncio.create_task(committer.commit(create))
        await asyncio.sleep(0)
        assert not task.done()
    await task
    await committer.close()


async def test_a_cancelled_caller_leaves_the_thread_in_order(tmp_path: Path) -> None:
    committer = ThreadCommitter(create_engine(f"sqlite:///{tmp_path / 'x.db'}"), asyncio.Lock())
    await committer.commit(create)
    release = threading.Event()

    def slow(connection: Connection) -> None:
        insert(connection)
        release.wait(10)

    task = asyncio.create_task(committer.commit(slow))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    release.set()
    assert await committer.commit(count) == 1
    await committer.close()


async def test_the_writer_takes_no_place_in_the_pool(private_server: DatabaseServer) -> None:
    database = await private_server.create_database()
    url, dialect = parse(private_server.url_for(database))
    engine = create_async(url, dialect, {"pool_size": 1, "max_overflow": 0, "pool_timeout": 1})
    committer = dialect.create_committer(engine, asyncio.Lock())
    await committer.commit(create)
    async with engine.connect() as connection:
        assert await connection.run_sync(count) == 0
        assert await committer.commit(insert) == "done"
    await committer.close()
    await engine.dispose()


async def test_a_connection_that_gives_no_answer_is_cut(private_server: DatabaseServer) -> None:
    database = await private_server.create_database()
    async with proxy_to(private_server) as proxy:
        url = proxy.url_for(database)
        committer, (_, dialect) = committer_for(url), parse(url)
        await committer.commit(create, cut_after=30)
        proxy.black_hole()
        for _ in range(2):  # first on the connection there is, then while connecting
            with pytest.raises(Exception) as caught:
                await committer.commit(insert, cut_after=0.2)
            assert dialect.classify(caught.value) is Failure.UNREACHABLE
            await committer.reset()
        proxy.heal()
        assert await committer.commit(insert, cut_after=30) == "done"
        await committer.close()
