"""Hearing what other processes commit, through trouble of every kind."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from edda.storage import listening
from edda.storage.dialects import notifications
from edda.storage.listening import Listening
from edda.storage.news import News
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.writes_outbox import OutboxEventAdded
from tests.support.databases import Databases
from tests.support.eventually import until
from tests.support.outbox import new_event
from tests.support.proxy import FaultProxy, proxy_to
from tests.support.server import DatabaseServer
from tests.support.writes import run_of, step, unleased

on_postgresql = pytest.mark.parametrize("empty_database_url", ["postgresql"], indirect=True)
EVERYTHING, DUE = News.of_everything(), News(due=True)


class Ear:
    """A storage that listens, and what it has heard since it was last asked."""

    def __init__(self, storage: SQLAlchemyStorage) -> None:
        self.storage = storage
        self._heard: list[News] = []
        storage.listen(self._heard.append)

    async def works(self) -> None:
        """Wait until the commits of others are heard, and forget what was told until then."""
        await until(lambda: self.storage.hears_others)
        self._heard.clear()

    async def hears(self, news: News) -> None:
        await until(lambda: news in self._heard)
        self._heard.clear()

    @property
    def heard(self) -> list[News]:
        return self._heard


@asynccontextmanager
async def ears(*storages: SQLAlchemyStorage) -> AsyncIterator[list[Ear]]:
    """These storages, open, each with an ear that works."""
    async with AsyncExitStack() as stack:
        opened = []
        for storage in storages:
            await storage.open(migrate=True)
            stack.push_async_callback(storage.close)
            opened.append(Ear(storage))
            storage.listen_to_others()
        for ear in opened:
            await ear.works()
        yield opened


@on_postgresql
async def test_others_hear_what_a_commit_made_known_and_the_sender_once(empty_database_url: str) -> None:
    async with ears(*(SQLAlchemyStorage(empty_database_url) for _ in range(3))) as (one, *others):
        await one.storage.submit(unleased())
        for other in others:
            await other.hears(DUE)
        await one.storage.transaction().commit([unleased()])
        for other in others:
            await other.hears(DUE)
        # What comes back later than to others would have come by now.
        await others[0].storage.submit(unleased())
        await others[1].hears(DUE)
        await until(lambda: len(one.heard) == 3)
        assert one.heard == [DUE] * 3


@on_postgresql
async def test_a_new_event_of_the_outbox_is_heard_by_the_relayers_of_others(empty_database_url: str) -> None:
    async with ears(SQLAlchemyStorage(empty_database_url), SQLAlchemyStorage(empty_database_url)) as (
        one,
        two,
    ):
        await one.storage.submit(OutboxEventAdded(new_event()))
        await two.hears(News(outbox=True))


@on_postgresql
async def test_who_leaves_has_the_others_look_at_everything(empty_database_url: str) -> None:
    async with ears(SQLAlchemyStorage(empty_database_url), SQLAlchemyStorage(empty_database_url)) as (
        one,
        two,
    ):
        await one.storage.alert_others()
        await two.hears(EVERYTHING)
        assert one.heard == []


@on_postgresql
async def test_what_is_rolled_back_or_refused_nobody_hears(empty_database_url: str) -> None:
    async with ears(SQLAlchemyStorage(empty_database_url), SQLAlchemyStorage(empty_database_url)) as (
        one,
        two,
    ):
        held = await run_of(one.storage)
        await one.storage.submit(step(held, "a:1"))
        transaction = one.storage.transaction()
        await transaction.session.execute(text("SELECT 1"))
        other_outcome = step(held, "a:1", '{"result":2}', effects=(unleased(),))
        await transaction.commit([other_outcome, unleased()])
        assert one.heard == two.heard == []
        await one.storage.submit(unleased())
        await two.hears(DUE)
        assert one.heard == [DUE]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_another_schema_of_the_same_database_hears_nothing(database_url: str) -> None:
    url = make_url(database_url).set(drivername="postgresql+asyncpg")
    engine = create_async_engine(url, connect_args={"server_settings": {"search_path": "apart"}})
    async with engine.begin() as connection:
        await connection.execute(text("CREATE SCHEMA apart"))
    usual, apart, apart_too = (
        SQLAlchemyStorage(database_url),
        SQLAlchemyStorage(engine),
        SQLAlchemyStorage(engine),
    )
    async with ears(usual, apart, apart_too) as (here, there, there_too):
        await here.storage.submit(unleased())
        await there.storage.submit(unleased())
        await there_too.hears(DUE)
        assert (here.heard, there.heard) == ([DUE], [DUE])
    await engine.dispose()


@on_postgresql
async def test_listening_takes_no_connection_out_of_the_pool(empty_database_url: str) -> None:
    """All connections there are belong to somebody else, who does not give them back."""
    storage = SQLAlchemyStorage(empty_database_url, pool_size=1, max_overflow=0, pool_timeout=1)
    await storage.open(migrate=True)
    async with storage.engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
        ear = Ear(storage)
        storage.listen_to_others()
        await ear.works()
        await storage.submit(unleased())
        assert DUE in ear.heard
    await storage.close()


@pytest.fixture
async def through_proxy(
    databases: Databases, empty_database_url: str
) -> AsyncIterator[tuple[FaultProxy, Ear, SQLAlchemyStorage]]:
    """A storage that listens through a proxy, and one on the database itself that tells it."""
    database = make_url(empty_database_url).database or ""
    async with proxy_to(await databases.shared_server("postgresql")) as proxy:
        near, far = SQLAlchemyStorage(empty_database_url), SQLAlchemyStorage(proxy.url_for(database))
        await near.open(migrate=True)
        async with ears(far) as (ear,):
            yield proxy, ear, near
        await near.close()


@on_postgresql
async def test_a_line_that_is_cut_is_told_and_replaced(
    through_proxy: tuple[FaultProxy, Ear, SQLAlchemyStorage], caplog: pytest.LogCaptureFixture
) -> None:
    """Then everything is looked at, when it is cut and when it works again; trouble is logged once."""
    proxy, ear, near = through_proxy
    proxy.refuse()
    await ear.hears(EVERYTHING)
    assert not ear.storage.hears_others
    await near.submit(unleased())
    proxy.accept()
    await ear.hears(EVERYTHING)
    await ear.works()
    await near.submit(unleased())
    await ear.hears(DUE)
    said = [record.levelname for record in caplog.records if record.name == listening.__name__]
    assert said == ["WARNING"]


@on_postgresql
async def test_a_line_that_fell_silent_is_given_up(
    through_proxy: tuple[FaultProxy, Ear, SQLAlchemyStorage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing tells that the other side is gone; it is asked for a sign of life."""
    monkeypatch.setattr(listening, "CHECK_INTERVAL", 0.05)
    monkeypatch.setattr(notifications, "ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(notifications, "FAREWELL_SECONDS", 0.1)
    proxy, ear, near = through_proxy
    proxy.cut()  # the next line is watched in these shorter intervals
    await ear.hears(EVERYTHING)
    await ear.works()
    proxy.black_hole()
    await ear.hears(EVERYTHING)
    await until(lambda: not ear.storage.hears_others)
    monkeypatch.undo()  # a slow machine would give up the next line as well
    proxy.heal()
    proxy.cut()
    await ear.hears(EVERYTHING)
    await ear.works()
    await near.submit(unleased())
    await ear.hears(DUE)


@pytest.mark.parametrize("private_server", ["postgresql"], indirect=True)
async def test_a_server_that_comes_back_is_listened_to_again(private_server: DatabaseServer) -> None:
    url = private_server.url_for(await private_server.create_database())
    async with ears(SQLAlchemyStorage(url), SQLAlchemyStorage(url)) as (one, two):
        await private_server.kill()
        await one.hears(EVERYTHING)
        await two.hears(EVERYTHING)
        await private_server.start()
        await one.works()
        await two.works()
        await one.storage.submit(unleased())
        await two.hears(DUE)


class DeafLine:
    """Listens without an error, and never hears a thing: what a pooling proxy makes of a line."""

    def __init__(self) -> None:
        self.opened = 0
        self.closed = 0

    async def open(self, hear: Callable[[str], None]) -> DeafLine:
        self.opened += 1
        return self

    async def wait_until_broken(self) -> None:
        await asyncio.Event().wait()

    async def check(self) -> None: ...

    async def close(self) -> None:
        self.closed += 1


async def test_where_nothing_arrives_there_is_one_warning_and_no_reliance(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listening, "PROOF_SECONDS", 0.01)
    monkeypatch.setattr(listening, "PAUSE_WITHOUT_PROOF", 0.01)
    line, told = DeafLine(), list[News]()

    async def announce(payload: str) -> None: ...

    deaf = Listening(line.open, announce=announce, sender="me", tell=told.append)
    with caplog.at_level(logging.INFO):
        deaf.start()
        await until(lambda: line.opened > 3)
        assert not deaf.works
        await deaf.close()
    assert line.closed == line.opened
    assert told == []
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "does a proxy pool transactions?" in caplog.text


class EndedLine(DeafLine):
    """Works, then ends, and answers all the same when it is asked for a sign of life."""

    def __init__(self) -> None:
        super().__init__()
        self.hear: Callable[[str], None] = lambda _: None
        self.ended = asyncio.Event()

    async def open(self, hear: Callable[[str], None]) -> DeafLine:
        if self.opened:
            raise OSError("no more lines")
        self.hear = hear
        return await super().open(hear)

    async def wait_until_broken(self) -> None:
        await self.ended.wait()


async def test_a_line_that_has_ended_is_not_relied_upon_whatever_it_answers() -> None:
    line, told = EndedLine(), list[News]()

    async def announce(payload: str) -> None:
        line.hear(payload)

    listening_to = Listening(line.open, announce=announce, sender="me", tell=told.append)
    listening_to.start()
    await until(lambda: listening_to.works)
    line.ended.set()
    await until(lambda: not listening_to.works)
    assert told == [EVERYTHING, EVERYTHING]
    await listening_to.close()


async def test_garbage_and_silence_are_no_news() -> None:
    told: list[News] = []
    line = DeafLine()

    async def announce(payload: str) -> None: ...

    ear = Listening(line.open, announce=announce, sender="me", tell=told.append)
    for payload in ("", "[" * 7999, '{"from":"other"}', '{"from":"me","news":["due"]}', '{"from":1}'):
        ear._receive(payload)
    assert told == []
    ear._receive('{"from":"other","news":["due"]}')
    assert told == [DUE]


async def test_a_database_without_notifications_is_not_listened_to(storage: SQLAlchemyStorage) -> None:
    assert not storage.hears_others
    storage.listen_to_others()
    storage.listen_to_others()
    assert (storage._others is not None) == storage.dialect.notifies
    await storage.alert_others()
