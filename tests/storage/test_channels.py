from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import Connection

from edda.storage import channels
from edda.storage.channels import Channel
from edda.storage.message_writes import NoMessage
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from tests.storage.batches import apply_within
from tests.support.messages import BROADCAST, COMPETING, message, subscriber_of, take_all, taking

TwoStorages = tuple[SQLAlchemyStorage, SQLAlchemyStorage]


async def test_channels_are_made_when_they_are_first_locked(storage: SQLAlchemyStorage) -> None:
    assert storage._writer is not None
    changed = {"b": Channel(7, COMPETING)}

    def lock(connection: Connection) -> dict[str, Channel]:
        return channels.lock(connection, storage.dialect, {"a", "b"})

    committer = storage._writer._committer
    assert await committer.commit(lock) == {"a": Channel(1, None), "b": Channel(1, None)}
    await committer.commit(lambda connection: channels.save(connection, storage.dialect, changed))
    assert await committer.commit(lock) == {"a": Channel(1, None), **changed}


@pytest.mark.parametrize("mode", [BROADCAST, COMPETING])
async def test_messages_come_in_the_order_of_the_commits(two_storages: TwoStorages, mode: object) -> None:
    """A transaction of the user that publishes, stays open and commits late is not passed over."""
    mine, other = two_storages
    if mine.dialect.name == "sqlite":
        pytest.skip("one writer at a time: a transaction that is open keeps all others out")
    held = await subscriber_of(mine, "news", BROADCAST if mode is BROADCAST else COMPETING)
    transaction = mine.transaction()
    await apply_within(mine, transaction, message("news", "slow"))
    quick = asyncio.create_task(other.submit(message("news", "quick")))
    assert await asyncio.wait({quick}, timeout=0.2) == (set(), {quick}), "it waits for its place"
    neighbour = await subscriber_of(mine, "news-2")
    await mine.submit(message("news-2"))
    assert await take_all(mine, neighbour, "news-2") == [1], "another channel goes on"
    await transaction.commit([])
    await quick
    assert await take_all(mine, held, "news") == ["slow", "quick"]


async def test_a_transaction_that_publishes_at_its_end_keeps_nobody_waiting(
    two_storages: TwoStorages,
) -> None:
    mine, other = two_storages
    held = await subscriber_of(mine, "news")
    transaction = mine.transaction()
    if mine.dialect.name != "sqlite":
        await transaction.session.connection()
    await other.submit(message("news", "first"))
    await transaction.commit([message("news", "second")])
    assert await take_all(mine, held, "news") == ["first", "second"]


async def test_what_was_rolled_back_leaves_no_trace(storage: SQLAlchemyStorage) -> None:
    held = await subscriber_of(storage, "news")
    transaction = storage.transaction()
    await apply_within(storage, transaction, message("news", "undone"))
    await transaction.rollback()
    assert await storage.submit(taking(held, "news")) is NoMessage.NOTHING_THERE
    await storage.submit(message("news", "done"))
    assert await take_all(storage, held, "news") == ["done"]


async def test_publishers_in_two_processes_give_every_subscriber_the_same_order(
    two_storages: TwoStorages,
) -> None:
    first, second = [await subscriber_of(storage, "news") for storage in two_storages]
    other = await subscriber_of(two_storages[0], "news-2")
    await asyncio.gather(
        *(
            storage.submit(message(channel, f"{place}-{number}"))
            for number in range(20)
            for place, storage in enumerate(two_storages)
            for channel in ("news", "news-2")
        )
    )
    received = await take_all(two_storages[0], first, "news")
    assert received == await take_all(two_storages[1], second, "news")
    assert len(received) == len(await take_all(two_storages[1], other, "news-2")) == 40
    for place in range(2):
        own = [text for text in received if text.startswith(f"{place}-")]
        assert own == [f"{place}-{number}" for number in range(20)]
