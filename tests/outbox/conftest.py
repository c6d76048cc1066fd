"""A broker, a storage on each kind of database, and relayers that are stopped at the end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from edda.outbox import OutboxRelayer
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from tests.support.sink import Sink, running_sink


class Relayers:
    """Starts relayers to one broker, which look often and wait shortly."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._started: list[OutboxRelayer] = []

    async def start(self, storage: SQLAlchemyStorage, **options: Any) -> OutboxRelayer:
        usual: dict[str, Any] = {"broker_url": self._sink.url, "poll_interval": 0.05}
        relayer = OutboxRelayer(storage, **(usual | options))
        self._started.append(relayer)
        await relayer.start()
        return relayer

    async def stop(self) -> None:
        for relayer in self._started:
            await relayer.stop()


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    async with running_sink() as sink:
        yield sink


@pytest.fixture
async def storage(empty_database_url: str) -> AsyncIterator[SQLAlchemyStorage]:
    storage = SQLAlchemyStorage(empty_database_url)
    await storage.open(migrate=True)
    yield storage
    await storage.close()


@pytest.fixture
async def relayers(sink: Sink, storage: SQLAlchemyStorage) -> AsyncIterator[Relayers]:
    relayers = Relayers(sink)
    try:
        yield relayers
    finally:
        await relayers.stop()
