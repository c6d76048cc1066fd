from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import Connection, select

from edda.storage import channel_retention, channels
from edda.storage.dialects.base import Attempt, ContentionError
from edda.storage.message_writes import ChannelsPurged, Swept
from edda.storage.models import workflow_channels
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.writes import Verdict
from tests.storage.batches import apply_batch, apply_within
from tests.storage.plans import plans_of
from tests.support.eventually import PATIENCE
from tests.support.messages import (
    BROADCAST,
    COMPETING,
    asleep,
    message,
    receiving,
    subscriber_of,
    subscription,
    take_all,
    unsubscription,
)
from tests.support.statements import counted
from tests.support.writes import finished, run_of

ALL = ChannelsPurged(100)
TwoStorages = tuple[SQLAlchemyStorage, SQLAlchemyStorage]


async def _names(storage: SQLAlchemyStorage) -> list[str]:
    query = select(workflow_channels.c.channel).order_by(workflow_channels.c.channel)
    async with storage.engine.connect() as connection:
        return list(await connection.scalars(query))


async def _make(storage: SQLAlchemyStorage, *names: str) -> None:
    """Channels that nobody uses any more."""
    held = await run_of(storage)
    subscriptions = [subscription(held, name) for name in names]
    await apply_batch(storage, Attempt.FIRST, *subscriptions)
    await apply_batch(storage, Attempt.FIRST, *(unsubscription(held, name) for name in names))


async def test_channels_stay_while_anybody_uses_them(storage: SQLAlchemyStorage) -> None:
    await storage.submit(message("a message"))
    await storage.submit(message("a message for one", target="somebody"))
    broadcast = await subscriber_of(storage, "a subscription", BROADCAST)
    competing = await subscriber_of(storage, "a competing subscription", COMPETING)
    waiting = await run_of(storage)
    await storage.submit(asleep(waiting, receiving("a wait")))
    await _make(storage, "nothing")
    assert await storage.submit(ALL) == Swept(1, None)
    assert len(await _names(storage)) == 5
    for held in (broadcast, competing):
        await storage.submit(finished(held, subscriber=held.instance_id))
    assert await storage.submit(ALL) == Swept(2, None)
    assert await _names(storage) == ["a message", "a message for one", "a wait"]


async def test_a_channel_that_went_is_made_anew_for_whoever_comes(storage: SQLAlchemyStorage) -> None:
    old = await subscriber_of(storage, "news", COMPETING)
    await storage.submit(message("news", "old"))
    assert await take_all(storage, old, "news") == ["old"]
    await storage.submit(finished(old, subscriber=old.instance_id))
    assert await storage.submit(ALL) == Swept(1, None)
    await storage.submit(message("news", "before"))
    held = await subscriber_of(storage, "news", BROADCAST)
    await storage.submit(message("news", "after"))
    assert await take_all(storage, held, "news") == ["after"]
    assert await storage.submit(ALL) == Swept(0, None)


async def test_each_channel_is_looked_at_once(storage: SQLAlchemyStorage) -> None:
    await _make(storage, *(f"idle {number}" for number in range(7)))
    await apply_batch(storage, Attempt.FIRST, *(message(f"busy {number}") for number in range(5)))
    swept, removed = await storage.submit(ChannelsPurged(4)), []
    while swept.rest is not None:
        removed.append(swept.removed)
        swept = await storage.submit(swept.rest)
    assert [*removed, swept.removed] == [0, 3, 4, 0]
    assert len(await _names(storage)) == 5


async def test_a_channel_that_comes_into_use_before_it_is_locked_stays(
    two_storages: TwoStorages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second look, under the lock, decides."""
    mine, _ = two_storages
    await _make(mine, "news", "other")
    looks: list[list[str]] = []
    look = channel_retention._idle

    def idle(connection: Connection, dialect: object, names: list[str]) -> list[str]:
        looks.append(list(names))
        found = look(connection, mine.dialect, names)
        return found if len(looks) == 1 else [name for name in found if name != "news"]

    monkeypatch.setattr(channel_retention, "_idle", idle)
    assert await mine.submit(ALL) == Swept(1, None)
    assert looks == [["news", "other"]] * 2
    assert await _names(mine) == ["news"]


async def test_a_locked_channel_is_passed_over_and_its_publisher_keeps_its_place(
    two_storages: TwoStorages,
) -> None:
    mine, other = two_storages
    if mine.dialect.name == "sqlite":
        pytest.skip("one writer at a time: a transaction that is open keeps all others out")
    await _make(mine, "news", "other")
    transaction = mine.transaction()
    await apply_within(mine, transaction, message("news"))
    assert await asyncio.wait_for(other.submit(ALL), PATIENCE) == Swept(1, None)
    await transaction.commit([])
    assert await other.submit(ALL) == Swept(0, None)
    assert await _names(mine) == ["news"]


async def test_whoever_waits_for_a_channel_that_goes_makes_it_anew(two_storages: TwoStorages) -> None:
    mine, other = two_storages
    if mine.dialect.name == "sqlite":
        pytest.skip("one writer at a time: a transaction that is open keeps all others out")
    await _make(mine, "news")
    held = await run_of(mine)
    transaction = mine.transaction()
    assert await apply_within(mine, transaction, ALL) == [Swept(1, None)]
    subscribing = asyncio.create_task(other.submit(subscription(held, "news")))
    assert await asyncio.wait({subscribing}, timeout=0.2) == (set(), {subscribing})
    await transaction.commit([])
    assert await subscribing is Verdict.ACCEPTED
    await other.submit(message("news", "first"))
    assert await take_all(other, held, "news") == ["first"]


async def test_channels_may_go_while_others_publish_and_subscribe(two_storages: TwoStorages) -> None:
    mine, other = two_storages

    async def use(number: int) -> None:
        held = await subscriber_of(mine, f"news {number % 3}", COMPETING)
        await mine.submit(message(f"news {number % 3}", target=held.instance_id))
        assert await take_all(mine, held, f"news {number % 3}") == [1]
        await mine.submit(finished(held, subscriber=held.instance_id))

    async def sweep() -> None:
        for _ in range(20):
            await other.submit(ALL)

    await asyncio.gather(sweep(), *(use(number) for number in range(30)))
    await other.submit(ALL)
    assert await _names(mine) == []


async def test_a_channel_that_goes_while_it_is_being_made_is_made_again(
    storage: SQLAlchemyStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another transaction made it first, and it was removed before it could be locked."""
    assert storage._writer is not None
    monkeypatch.setattr(channels, "_select", lambda *_: {})
    with pytest.raises(ContentionError):
        await storage._writer._committer.commit(
            lambda connection: channels.lock(connection, storage.dialect, {"news"})
        )
    monkeypatch.undo()
    await storage.submit(message("news"))


async def test_a_sweep_costs_few_statements_and_only_where_something_goes(
    storage: SQLAlchemyStorage,
) -> None:
    question = 10 if storage.dialect.name == "sqlite" else 1
    await apply_batch(storage, Attempt.FIRST, *(message(f"busy {number}") for number in range(10)))
    with counted() as seen:
        await storage.submit(ALL)
    assert len(seen.texts) == 1 + question
    await _make(storage, *(f"idle {number}" for number in range(10)))
    with counted() as seen:
        await storage.submit(ChannelsPurged(10, after="busy 9"))
    assert (len(seen.texts), seen.commits) == (3 + 2 * question, 1)


@pytest.mark.parametrize("rows", [0, 300])
async def test_channels_are_looked_at_by_index(storage: SQLAlchemyStorage, rows: int) -> None:
    await _make(storage, *(f"idle {number}" for number in range(rows)), "last")
    write = ChannelsPurged(10)

    def sweep(connection: Connection) -> None:
        channel_retention.purge(connection, storage.dialect, [write], Attempt.FIRST)

    for plan in await plans_of(storage, sweep):
        for bad in ("sort", "temp b-tree", "seq scan", "hash", "materialized", "'all'", "scan workflow"):
            assert bad not in plan, plan
