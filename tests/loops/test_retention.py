"""What is old goes, in small batches, whoever else does the same."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Update, func, select, update

from edda import WorkflowContext, clock, publish, receive, sleep, subscribe, workflow
from edda.app import EddaApp
from edda.loops import retention
from edda.loops.retention import RetentionLoop
from edda.storage.models import (
    workflow_channels,
    workflow_inbox,
    workflow_instances,
    workflow_messages,
    workflow_outbox,
    workflow_subscriptions,
    workflow_waits,
)
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.upkeep_writes import InstancesPurged
from edda.storage.writes import EventsAccepted, InboxEvent
from tests.support import outbox
from tests.support.apps import Apps, result_of
from tests.support.chains import statuses
from tests.support.eventually import eventually
from tests.support.messages import age, channels_with_messages, message
from tests.support.rows import storage_of
from tests.support.statements import counted

DAY = 86_400.0


async def remember(storage: SQLAlchemyStorage, *, days_ago: float, count: int) -> None:
    """Rows of events that were accepted so long ago."""
    events = tuple(InboxEvent(f"{days_ago}-{n}".rjust(64, "0"), "s", "s", str(n), "t") for n in range(count))
    await storage.submit(EventsAccepted(events, ()))
    keys = [event.event_key for event in events]
    received_at = clock.now() - timedelta(days=days_ago)
    rows = update(workflow_inbox).where(workflow_inbox.c.event_key.in_(keys))
    await execute(storage, rows.values(received_at=received_at))


async def post(storage: SQLAlchemyStorage, event_id: str, *, days_ago: float) -> None:
    """An event of the outbox that was sent so long ago."""
    await outbox.add(storage, event_id)
    [event] = await outbox.lease(storage)
    await outbox.mark(storage, event)
    published_at = clock.now() - timedelta(days=days_ago)
    rows = update(workflow_outbox).where(workflow_outbox.c.event_id == event_id)
    await execute(storage, rows.values(published_at=published_at))


async def execute(storage: SQLAlchemyStorage, statement: Update) -> None:
    transaction = storage.transaction()
    await transaction.session.execute(statement)
    await transaction.commit([])


async def remembered(storage: SQLAlchemyStorage) -> int:
    async with storage.engine.connect() as connection:
        return int(await connection.scalar(select(func.count()).select_from(workflow_inbox)) or 0)


@pytest.fixture
async def storage(apps: Apps) -> Any:
    return storage_of(await apps.start())


def begun(storage: SQLAlchemyStorage, **options: Any) -> RetentionLoop:
    """A loop of the leader."""
    return RetentionLoop(storage, older_than=7 * DAY, leads=lambda: True, **options)


async def test_what_is_older_than_the_limit_goes_and_the_rest_stays(storage: SQLAlchemyStorage) -> None:
    for days_ago in (8, 6, 0):
        await remember(storage, days_ago=days_ago, count=3)
    loop = begun(storage)
    assert 3600 <= await loop.round() <= 3960
    assert await remembered(storage) == 6


async def test_published_events_go_and_what_waits_to_be_sent_stays(storage: SQLAlchemyStorage) -> None:
    await post(storage, "old", days_ago=8)
    await post(storage, "young", days_ago=6)
    await outbox.add(storage, "waiting")
    created_at = clock.now() - timedelta(days=30)
    await execute(storage, update(workflow_outbox).values(created_at=created_at))
    loop = begun(storage)
    assert await loop.round() >= 3600
    async with storage.engine.connect() as connection:
        left = await connection.scalars(select(workflow_outbox.c.event_id).order_by("event_id"))
    assert left.all() == ["waiting", "young"]


async def test_much_goes_in_small_batches_with_a_commit_each(storage: SQLAlchemyStorage) -> None:
    await remember(storage, days_ago=8, count=25)
    loop = begun(storage, batch=10)
    left = []
    # The second one goes on only with what the first one has left.
    for writes in (len(loop._purges) + len(loop._sweeps), len(loop._purges)):
        with counted() as statements:
            assert await loop.round() == retention.PAUSE
        assert statements.commits == writes
        left.append(await remembered(storage))
    assert await loop.round() >= 3600
    assert [*left, await remembered(storage)] == [15, 5, 0]


async def test_a_worker_that_does_not_lead_removes_nothing(storage: SQLAlchemyStorage) -> None:
    await remember(storage, days_ago=8, count=3)
    loop = RetentionLoop(storage, older_than=7 * DAY, leads=lambda: False)
    assert await loop.round() >= 3600
    assert await remembered(storage) == 3


async def test_a_worker_that_ceases_to_lead_stops_between_two_batches(storage: SQLAlchemyStorage) -> None:
    await remember(storage, days_ago=8, count=30)
    terms = iter([True, True, True, True, True, False])
    loop = RetentionLoop(storage, older_than=7 * DAY, leads=lambda: next(terms), batch=10)
    assert await loop.round() == retention.PAUSE
    assert await loop.round() >= 3600
    assert await remembered(storage) == 10


async def test_a_new_leader_removes_before_the_hour_is_over(
    storage: SQLAlchemyStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    leads = False
    monkeypatch.setattr(retention, "FIRST_PAUSE", 0.01)
    await remember(storage, days_ago=8, count=3)
    loop = RetentionLoop(storage, older_than=7 * DAY, leads=lambda: leads)
    loop.start()
    leads = True
    loop.begin()

    async def check() -> None:
        assert await remembered(storage) == 0

    await eventually(check)
    await loop.stop()


async def test_several_workers_clean_at_once_without_waiting_for_each_other(apps: Apps) -> None:
    storages = [storage_of(await apps.start()) for _ in range(3)]
    await remember(storages[0], days_ago=8, count=300)
    loops = [begun(storage, batch=20) for storage in storages]
    for _ in range(6):
        await asyncio.gather(*(loop.round() for loop in loops))
    assert await remembered(storages[0]) == 0


async def test_a_running_loop_goes_on_until_nothing_old_is_left(
    storage: SQLAlchemyStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "PAUSE", 0.001)
    await remember(storage, days_ago=8, count=25)
    loop = begun(storage, interval=0.01, batch=5)
    loop.start()

    async def check() -> None:
        assert await remembered(storage) == 0

    await eventually(check)
    await loop.stop()


async def test_a_worker_keeps_what_its_option_says(apps: Apps) -> None:
    app = await apps.start(message_retention_days=2)
    loop = app._require_worker().retention
    ages = {purge.older_than for purge in (*loop._purges, *loop._sweeps) if hasattr(purge, "older_than")}
    assert ages == {2 * DAY}
    assert not [sweep for sweep in loop._sweeps if isinstance(sweep, InstancesPurged)]


async def test_ended_instances_are_removed_where_the_app_says_so(apps: Apps) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> None: ...

    app = apps.make()
    app.instance_retention_days = 30
    await app.initialize()
    old, young = await flow.start(), await flow.start()
    moment = clock.now() - timedelta(days=31)
    table = workflow_instances
    aged = update(table).where(table.c.instance_id == old).values(started_at=moment, updated_at=moment)
    await execute(storage_of(app), aged)
    loop = app._require_worker().retention
    await eventually(lambda: check_leads(app))
    assert await loop.round() >= 3600
    assert await app.storage.get_instance(old) is None
    assert await app.storage.get_instance(young) is not None


async def test_a_chain_whose_first_instance_is_gone_is_reached_under_its_id(apps: Apps) -> None:
    @workflow
    async def listener(ctx: WorkflowContext, turn: int = 0) -> Any:
        await subscribe(ctx, "__direct__", "direct")
        if turn == 0:
            await ctx.recur(turn=1)
        return (await receive(ctx, "__direct__")).data

    app = apps.make()
    app.instance_retention_days = 30
    await app.initialize()
    first = await listener.start()
    moment = clock.now() - timedelta(days=31)
    table = workflow_instances
    aged = update(table).where(table.c.instance_id == first).values(started_at=moment, updated_at=moment)
    await execute(storage_of(app), aged)
    await eventually(lambda: check_leads(app))
    await app._require_worker().retention.round()
    assert await app.storage.get_instance(first) is None
    await storage_of(app).submit(message("__direct__", target=first, direct=True))
    async with storage_of(app).engine.connect() as connection:
        second = await connection.scalar(select(table.c.instance_id))
    assert await result_of(app, str(second)) == 1


def check_leads(app: EddaApp) -> None:
    assert app._require_worker().leader.leads()


@pytest.mark.parametrize("days", [0, -1, "30", True])
async def test_a_retention_that_cannot_be_is_refused(apps: Apps, days: Any) -> None:
    app = apps.make()
    app.instance_retention_days = days
    with pytest.raises(ValueError, match="instance_retention_days must be a positive number of days"):
        await app.initialize()


async def test_old_messages_go_and_then_the_channels_that_nobody_uses(storage: SQLAlchemyStorage) -> None:
    for channel, seconds in (("old", 8 * DAY), ("young", 6 * DAY), ("new", 5)):
        await storage.submit(message(channel))
        await age(storage, channel, seconds)
    loop = begun(storage)
    assert await loop.round() >= 3600
    assert await channels_with_messages(storage) == ["new", "young"]
    async with storage.engine.connect() as connection:
        channels = await connection.scalars(select(workflow_channels.c.channel).order_by("channel"))
    assert channels.all() == ["new", "young"]


async def test_a_round_goes_on_where_the_last_one_ended(storage: SQLAlchemyStorage) -> None:
    for number in range(7):
        await storage.submit(message(f"old {number}"))
        await age(storage, f"old {number}", (9 - number / 10) * DAY)
    loop = begun(storage, batch=3)
    pauses, left = [], []
    for _ in range(3):
        pauses.append(await loop.round())
        left.append(len(await channels_with_messages(storage)))
    assert left == [4, 1, 0]
    assert pauses[:2] == [retention.PAUSE] * 2
    assert pauses[2] >= 3600
    assert loop._pending == [*loop._sweeps], "the next time begins at the beginning"


async def test_an_instance_that_has_ended_leaves_only_its_row_and_its_history(apps: Apps) -> None:
    """Whether it completes or fails, after a recur, in either mode; what is not read goes with its age."""

    @workflow
    async def listener(ctx: WorkflowContext, mode: str, turn: int = 0) -> None:
        await subscribe(ctx, f"news {mode}", mode)
        await receive(ctx, f"news {mode}")
        await sleep(ctx, 0.01)
        if turn == 0:
            await ctx.recur(mode=mode, turn=1)
        if mode == "competing":
            raise ValueError(mode)

    app = await apps.start()
    storage = storage_of(app)
    for mode in ("broadcast", "competing"):
        first_id = await listener.start(mode=mode)
        for number in range(2):
            await publish(storage, f"news {mode}", number)
        await storage.submit(message("inbox", target=first_id, direct=True))
        await eventually(partial(has_ended, app, first_id))
    for channel in await channels_with_messages(storage):
        await age(storage, channel, 8 * DAY)
    loop = begun(storage)
    await loop.round()
    gone = (workflow_waits, workflow_subscriptions, workflow_messages, workflow_channels)
    async with storage.engine.connect() as connection:
        for table in gone:
            assert await connection.scalar(select(func.count()).select_from(table)) == 0, table.name


async def has_ended(app: EddaApp, first_id: str) -> None:
    assert (await statuses(app, first_id))[1:] in (["completed"], ["failed"])
