"""A process that stands still in the middle of a transaction keeps nobody else from writing for long."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import Connection, select, text
from sqlalchemy.util import await_only

from edda.storage.dialects.base import Failure
from edda.storage.models import workflow_instances
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.writes import Verdict
from tests.support.eventually import eventually, pause
from tests.support.writes import run_of, step

on_servers = pytest.mark.parametrize("empty_database_url", ["postgresql", "mysql"], indirect=True)


async def opened(url: str, stall_seconds: float) -> SQLAlchemyStorage:
    storage = SQLAlchemyStorage(url, stall_seconds=stall_seconds)
    await storage.open(migrate=True)
    return storage


def committer_of(storage: SQLAlchemyStorage) -> Any:
    assert storage._writer is not None
    return storage._writer._committer


@on_servers
async def test_the_server_ends_a_transaction_that_stands_still_and_its_locks_are_free(
    empty_database_url: str,
) -> None:
    """The one that stands still goes on only when the other one has written."""
    still, other = await opened(empty_database_url, 1), await opened(empty_database_url, 60)
    held = await run_of(other)
    locked, go_on = asyncio.Event(), asyncio.Event()

    def stand_still(connection: Connection) -> None:
        connection.execute(select(workflow_instances.c.instance_id).with_for_update())
        locked.set()
        await_only(go_on.wait())
        connection.execute(text("SELECT 1"))

    standing = asyncio.create_task(committer_of(still).commit(stand_still))
    await locked.wait()
    assert await other.submit(step(held), within=60) is Verdict.ACCEPTED
    go_on.set()
    with pytest.raises(Exception) as caught:
        await standing
    assert still.dialect.classify(caught.value) is Failure.UNREACHABLE
    await committer_of(still).reset()
    assert await still.submit(step(held, "pay:2")) is Verdict.ACCEPTED
    await still.close()
    await other.close()


@on_servers
async def test_a_write_that_waits_for_a_lock_is_made_again(empty_database_url: str) -> None:
    """It holds locks itself, also after its process has gone."""
    storage = await opened(empty_database_url, 1)
    held = await run_of(storage)
    async with storage.engine.connect() as connection, connection.begin():
        await connection.execute(select(workflow_instances.c.instance_id).with_for_update())
        writing = asyncio.create_task(storage.submit(step(held), within=60))
        await pause(1.5)  # longer than it waits for a lock
        assert not writing.done()
    assert await writing is Verdict.ACCEPTED
    await storage.close()


@on_servers
async def test_migrating_may_take_longer_than_that(empty_database_url: str) -> None:
    storage = await opened(empty_database_url, 1)

    def take_time(connection: Connection) -> None:
        connection.execute(select(workflow_instances.c.instance_id))
        await_only(pause(2))
        connection.execute(text("SELECT 1"))

    await committer_of(storage).commit(lambda connection: storage._unhurried(connection, take_time))

    async def is_ended() -> None:
        try:
            await committer_of(storage).commit(take_time)
        except Exception:  # noqa: BLE001 - of the driver
            return
        raise AssertionError("the server was too slow to end it in time")

    await eventually(is_ended)
    await storage.close()
