from __future__ import annotations

import asyncio
import inspect
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from edda.exceptions import StorageError
from edda.storage import committers
from edda.storage.connection import parse
from edda.storage.protocol import StorageProtocol
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.writes import (
    AlreadyRecorded,
    EventsAccepted,
    InboxEvent,
    LeasesRenewed,
    Parked,
    RunReleased,
    Verdict,
    WaitsRegistered,
)
from edda.types import EventType, Status
from tests.support.databases import Databases
from tests.support.eventually import eventually
from tests.support.proxy import CommitFault, FaultProxy, proxy_to
from tests.support.server import DatabaseServer
from tests.support.writes import (
    claim_due,
    finished,
    lease,
    leased,
    parked,
    run_of,
    step,
    taken_over,
    unleased,
    wait,
)

FAILURE = {"activity_id": "end", "event_type": EventType.WORKFLOW_FAILED, "event_data": "{}"}

# -- the port ----------------------------------------------------------------------------


def test_the_facade_is_what_the_engine_asks_for() -> None:
    storage: StorageProtocol = SQLAlchemyStorage("sqlite://")
    for name, wanted in inspect.getmembers(StorageProtocol, inspect.isfunction):
        if not name.startswith("_"):
            offered = inspect.signature(getattr(type(storage), name))
            assert list(offered.parameters) == list(inspect.signature(wanted).parameters), name


# -- opening and closing -----------------------------------------------------------------


async def test_a_closed_storage_takes_nothing_and_closes_again(storage: SQLAlchemyStorage) -> None:
    await storage.close()
    await storage.close()
    with pytest.raises(StorageError, match="not open"):
        await storage.submit(unleased())


async def test_opening_twice_is_harmless(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    await storage.open(migrate=True)
    assert await storage.submit(step(held)) is Verdict.ACCEPTED


async def test_a_storage_can_be_opened_again(database_url: str) -> None:
    storage = SQLAlchemyStorage(database_url)
    held = lease()
    for n in range(3):
        await storage.open(migrate=n == 0)
        assert await storage.submit(leased(held)) is (n == 0)
        assert await storage.submit(step(held, f"a:{n}")) is Verdict.ACCEPTED
        await storage.close()


async def test_closing_finishes_what_was_submitted(database_url: str) -> None:
    storage = SQLAlchemyStorage(database_url)
    await storage.open(migrate=True)
    tasks = [asyncio.create_task(storage.submit(unleased())) for _ in range(20)]
    await asyncio.sleep(0)
    await storage.close()
    assert await asyncio.gather(*tasks) == [True] * 20


async def test_nothing_is_left_running_after_closing(database_url: str) -> None:
    before = set(threading.enumerate()), asyncio.all_tasks()
    storage = SQLAlchemyStorage(database_url)
    await storage.open(migrate=True)
    await run_of(storage)
    await storage.load_instance("unknown")
    await storage.close()
    # A thread that has done its last work may take a moment to be gone.
    await eventually(lambda: _assert((set(threading.enumerate()), asyncio.all_tasks()) == before))


async def test_an_engine_of_the_user_is_used_and_left_open(databases: Databases, tmp_path: Path) -> None:
    async with databases.fresh("postgresql", tmp_path) as url:
        engine = create_async_engine(parse(url)[0], pool_size=1, max_overflow=0)
        storage = SQLAlchemyStorage(engine)
        await storage.open(migrate=True)
        held = await run_of(storage)
        await storage.close()
        async with engine.connect() as connection:
            found = await connection.scalar(text("SELECT instance_id FROM workflow_instances"))
        assert found == held.instance_id
        await engine.dispose()


async def test_an_engine_on_a_file_names_the_database(tmp_path: Path) -> None:
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'edda.db'}")
    storage = SQLAlchemyStorage(engine)
    await storage.open(migrate=True)
    held = await run_of(storage)
    async with engine.connect() as connection:
        found = await connection.scalar(text("SELECT instance_id FROM workflow_instances"))
    assert found == held.instance_id
    await storage.close()
    await engine.dispose()


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("postgresql://me:secret@127.0.0.1:1/app", "postgresql at 127.0.0.1:1/app"),
        ("mysql://me:secret@127.0.0.1:1/app", "mysql at 127.0.0.1:1/app"),
        ("sqlite:////no/such/folder/edda.db", "sqlite /no/such/folder/edda.db"),
    ],
)
async def test_a_database_that_cannot_be_reached_is_named_in_one_line(url: str, where: str) -> None:
    storage = SQLAlchemyStorage(url)
    with pytest.raises(StorageError) as caught:
        await storage.open(migrate=True)
    message = str(caught.value)
    assert message.startswith(f"Cannot open {where}: ")
    assert "\n" not in message
    assert "secret" not in message


# -- bad writes --------------------------------------------------------------------------


async def test_a_bad_write_fails_alone(storage: SQLAlchemyStorage) -> None:
    """A lone surrogate is no text for any database."""
    runs = [await run_of(storage) for _ in range(7)]
    writes = [step(held, data="\ud800" if n in (2, 5) else "{}") for n, held in enumerate(runs)]
    answers = await asyncio.gather(*(storage.submit(write) for write in writes), return_exceptions=True)
    assert [n for n, answer in enumerate(answers) if answer is Verdict.ACCEPTED] == [0, 1, 3, 4, 6]
    for n in (2, 5):
        assert isinstance(answers[n], StorageError)
        assert "\n" not in str(answers[n])
        assert await storage.load_history(runs[n].instance_id) == []


# -- a commit whose answer is lost -------------------------------------------------------


async def _proxied(server: DatabaseServer, proxy: FaultProxy) -> SQLAlchemyStorage:
    storage = SQLAlchemyStorage(proxy.url_for(await server.create_database()))
    await storage.open(migrate=True)
    return storage


@pytest.mark.parametrize("fault", CommitFault)
async def test_every_kind_of_write_survives_a_lost_commit(
    private_server: DatabaseServer, fault: CommitFault
) -> None:
    """Whether the request or the answer is lost: done once, and answered as if nothing had been."""
    async with proxy_to(private_server) as proxy:
        storage = await _proxied(private_server, proxy)

        async def submit(write: Any) -> Any:
            proxy.fail_next_commit(fault)
            return await storage.submit(write)

        held = lease()
        assert await submit(leased(held)) is True
        assert await submit(unleased(held.instance_id)) is False
        assert await submit(step(held, "a:1")) is Verdict.ACCEPTED
        assert isinstance(await submit(step(held, "a:1", "other")), AlreadyRecorded)
        assert await submit(WaitsRegistered(held, (wait("b:1", -1), wait("c:1")))) is Verdict.ACCEPTED
        assert await submit(step(held, "c:1", ends_wait=True)) is Verdict.ACCEPTED
        assert await submit(LeasesRenewed((held,))) == {}
        assert await submit(parked(held, wait("b:1"))) == Parked(0.0)
        again = await taken_over(storage, held.instance_id)
        assert await submit(RunReleased(again, last_error="died")) is Verdict.ACCEPTED
        last = await taken_over(storage, held.instance_id)
        assert await submit(finished(last, Status.FAILED, **FAILURE)) is Verdict.ACCEPTED

        new = unleased()
        event = InboxEvent("k" * 64, "shop", "/s", "1", "t")
        assert await submit(EventsAccepted((event,), (new,))) == {new.instance_id}
        assert await submit(EventsAccepted((event,), (unleased(),))) == frozenset()

        record = await storage.load_instance(held.instance_id)
        assert record is not None
        assert (record.status, record.due_at) == (Status.FAILED, None)
        steps = [one.activity_id for one in await storage.load_history(held.instance_id)]
        assert steps == ["a:1", "c:1", "end"]
        assert await storage.load_waits(held.instance_id) == []
        await storage.close()


async def test_a_claim_whose_answer_is_lost_only_lasts_its_lease(private_server: DatabaseServer) -> None:
    async with proxy_to(private_server) as proxy:
        storage = await _proxied(private_server, proxy)
        await storage.submit(unleased())
        proxy.fail_next_commit(CommitFault.ANSWER_LOST)
        assert await storage.submit(claim_due(seconds=-1)) is not None
        assert len(await storage.submit(claim_due())) == 1
        await storage.close()


# -- a database that is away -------------------------------------------------------------


async def test_writes_wait_for_a_database_that_comes_back(private_server: DatabaseServer) -> None:
    storage = SQLAlchemyStorage(private_server.url_for(await private_server.create_database()))
    await storage.open(migrate=True)
    held = await run_of(storage)
    await private_server.kill()
    tasks = [asyncio.create_task(storage.submit(step(held, f"a:{n}"), within=60)) for n in range(5)]
    with pytest.raises(StorageError, match="in time"):
        await storage.submit(step(held, "b:1"), within=0.2)
    await private_server.start()
    assert await asyncio.gather(*tasks) == [Verdict.ACCEPTED] * 5
    assert len(await storage.load_history(held.instance_id)) == 5
    await storage.close()


async def test_a_lost_connection_costs_a_read_nothing(private_server: DatabaseServer) -> None:
    async with proxy_to(private_server) as proxy:
        storage = await _proxied(private_server, proxy)
        held = await run_of(storage)
        for _ in range(3):
            assert await storage.load_instance(held.instance_id) is not None
            proxy.cut()
        proxy.refuse()
        with pytest.raises(StorageError, match="could not be read"):
            await storage.load_instance(held.instance_id)
        proxy.accept()
        assert await storage.load_instance(held.instance_id) is not None
        await storage.close()


async def test_a_line_without_answers_is_given_up_in_time(private_server: DatabaseServer) -> None:
    async with proxy_to(private_server) as proxy:
        storage = await _proxied(private_server, proxy)
        held = await run_of(storage)
        proxy.black_hole()
        with pytest.raises(StorageError, match="in time"):
            await storage.submit(step(held), within=0.5)
        proxy.heal()
        assert await storage.submit(step(held), within=30) is Verdict.ACCEPTED
        await storage.close()


@pytest.mark.parametrize("empty_database_url", ["postgresql"], indirect=True)
async def test_closing_waits_for_no_farewell_over_a_line_without_answers(
    empty_database_url: str, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From several connections, of which each would be waited for."""
    monkeypatch.setattr(committers, "FAREWELL_SECONDS", 0.2)
    async with proxy_to(await databases.shared_server("postgresql")) as proxy:
        storage = SQLAlchemyStorage(proxy.url_for(make_url(empty_database_url).database or ""))
        await storage.open(migrate=True)
        everybody = asyncio.Barrier(3)

        async def look() -> None:
            async with storage.engine.connect() as connection:
                await connection.execute(text("SELECT 1"))
                await everybody.wait()

        await asyncio.gather(storage.load_instance("unknown"), *(look() for _ in range(3)))
        proxy.black_hole()
        await storage.close()
        assert "Connections in pool: 0" in storage.engine.sync_engine.pool.status()


def _assert(condition: bool) -> None:
    assert condition
