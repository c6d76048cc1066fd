"""The outbox with real processes: relayers that die, several at once, brokers that go and come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from edda import OutboxRelayer, WorkflowContext, activity, send_event_transactional, workflow
from edda.app import EddaApp
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.testing.ends import expire_leases
from tests.support.apps import Apps, hears_others
from tests.support.eventually import PATIENCE, eventually
from tests.support.outbox import add
from tests.support.outbox_soak import Load, Soak
from tests.support.sink import Reply, Sink, running_sink
from tests.support.workers import Worker, Workers


@activity
async def announce(ctx: WorkflowContext, number: int) -> str:
    event_id: str = await send_event_transactional(ctx, "order.created", "/shop", number)
    return event_id


@workflow
async def announcing(ctx: WorkflowContext, number: int) -> str:
    return await announce(ctx, number)


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    async with running_sink() as sink:
        yield sink


def relayer_of(app: EddaApp) -> OutboxRelayer | None:
    return app.outbox_relayer


# -- one process ---------------------------------------------------------------------------


async def test_the_app_runs_a_relayer_that_a_commit_wakes(apps: Apps, sink: Sink) -> None:
    """Not found by looking now and then: that comes once a minute."""
    app = apps.make(outbox_enabled=True, broker_url=sink.url)
    app.outbox_options = {"poll_interval": 60, "headers": {"X-Tenant": "a"}}
    assert relayer_of(app) is None
    await app.initialize()
    assert isinstance(relayer_of(app), OutboxRelayer)
    assert (app.outbox_enabled, app.broker_url) == (True, sink.url)
    await announcing.start(number=1)
    (received,) = await sink.takes(1)
    assert (received.event["data"], received.headers["x-tenant"]) == (1, "a")
    await app.shutdown()
    assert relayer_of(app) is None
    await app.initialize()
    await announcing.start(number=2)
    await sink.takes(2)


@pytest.mark.parametrize("empty_database_url", ["postgresql"], indirect=True)
async def test_a_commit_wakes_the_relayer_of_another_worker(apps: Apps, sink: Sink) -> None:
    """The notification goes over the connection of the commit: there is one in each pool."""
    one_connection: dict[str, Any] = {"pool_size": 1, "max_overflow": 0}
    recording = await apps.start(**one_connection)
    relaying = apps.make(outbox_enabled=True, broker_url=sink.url, **one_connection)
    relaying.outbox_options = {"poll_interval": 3600}
    await relaying.initialize()
    await hears_others(relaying)
    for number in range(1, 4):
        with recording.activate():
            await announcing.start(number=number)
        await sink.takes(number)


async def test_events_recorded_without_a_relayer_wait_for_one(apps: Apps, sink: Sink) -> None:
    app = await apps.start()
    assert (app.outbox_relayer, app.outbox_enabled, app.broker_url) == (None, False, None)
    await announcing.start(number=1)
    await apps.start(outbox_enabled=True, broker_url=sink.url)
    await sink.takes(1)


async def test_events_of_many_workflows_all_arrive_once(apps: Apps, sink: Sink) -> None:
    app = await apps.start(outbox_enabled=True, broker_url=sink.url)
    await asyncio.gather(*(announcing.start(number=number) for number in range(100)))
    await sink.takes(100)
    assert sorted(sink.data()) == list(range(100))
    assert len({received.id for received in sink.received}) == 100
    assert sink.together["/shop"] == 1

    async def check() -> None:  # the answer comes before its mark
        assert await app.storage.get_pending_outbox_events() == []

    await eventually(check)


async def test_an_app_can_stop_while_the_broker_is_away(apps: Apps, sink: Sink) -> None:
    await sink.stop()
    app = await apps.start(outbox_enabled=True, broker_url=sink.url)
    await announcing.start(number=1)

    async def check() -> None:
        events = await app.storage.get_pending_outbox_events()
        assert [bool(event["last_error"]) for event in events] == [True]

    await eventually(check)
    async with asyncio.timeout(PATIENCE):
        await app.shutdown()
    await sink.start()
    await app.initialize()
    await sink.takes(1)


# -- several processes -----------------------------------------------------------------------


@pytest.fixture
async def storage(database_url: str, workers: Workers) -> AsyncIterator[SQLAlchemyStorage]:
    """The test's own view of the database; processes end before it is checked for connections."""
    storage = SQLAlchemyStorage(database_url)
    await storage.open(migrate=True)
    yield storage
    await workers.close()
    await storage.close()


async def relayer(workers: Workers, storage: SQLAlchemyStorage, sink: Sink) -> Worker:
    """One with leases of a minute."""
    url = storage.engine.url.render_as_string(hide_password=False)
    worker = await workers.start("tests.support.outbox_programs:relay_in_peace", url, sink.url)
    await worker.wait_for_line("^ready$")
    return worker


async def test_an_event_whose_relayer_dies_while_sending_is_sent_again(
    storage: SQLAlchemyStorage, workers: Workers, sink: Sink
) -> None:
    sink.behaviour = lambda _: Reply(after=asyncio.Event())
    await add(storage, "e-1", "e-2", source="/s")
    first = await relayer(workers, storage, sink)
    await sink.takes(1)
    await first.kill()
    sink.behaviour = lambda _: Reply()
    await relayer(workers, storage, sink)
    async with storage.engine.begin() as connection:
        await connection.run_sync(expire_leases)
    received = await sink.takes(3)
    assert [each.id for each in received] == ["e-1", "e-1", "e-2"]


async def test_relayers_killed_again_and_again_lose_nothing_and_keep_the_order(
    storage: SQLAlchemyStorage, workers: Workers, sink: Sink
) -> None:
    """The short form of the soak that ``make soak`` runs: two relayers, and one of them dies each time."""
    load = Load(events=600, keys=30, relayers=2, kills=3, within=PATIENCE)
    figures = await Soak(storage, workers, sink, load).run()
    assert figures.kills == 3


async def test_two_processes_share_the_work_without_sending_anything_twice(
    storage: SQLAlchemyStorage, workers: Workers, sink: Sink
) -> None:
    await asyncio.gather(*(relayer(workers, storage, sink) for _ in range(2)))
    for number in range(100):
        await add(storage, f"e-{number}", source=f"/{number % 10}")
    await sink.takes(100)

    async def check() -> None:
        assert await storage.seconds_until_outbox_due() is None

    await eventually(check)
    assert len(sink.received) == len({received.id for received in sink.received}) == 100
    assert set(sink.together.values()) == {1}
