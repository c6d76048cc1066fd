"""One storage for each kind of database: each behaviour is tested once and holds on all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from tests.support.databases import Databases


@pytest.fixture
async def storage(any_url: str) -> AsyncIterator[SQLAlchemyStorage]:
    """An open storage with an empty, migrated database."""
    storage = SQLAlchemyStorage(any_url)
    await storage.open(migrate=True)
    yield storage
    await storage.close()


@pytest.fixture(params=["sqlite", "memory", "postgresql", "mysql"])
async def any_url(request: pytest.FixtureRequest, databases: Databases, tmp_path: Path) -> AsyncIterator[str]:
    """The URL of an empty database of each kind, one in memory included."""
    async with AsyncExitStack() as stack:
        if request.param == "memory":
            yield "sqlite:///:memory:"
        else:
            yield await stack.enter_async_context(databases.fresh(request.param, tmp_path))


@pytest.fixture
async def two_storages(database_url: str) -> AsyncIterator[tuple[SQLAlchemyStorage, SQLAlchemyStorage]]:
    """Two storages on one database, as two worker processes have them."""
    first, second = SQLAlchemyStorage(database_url), SQLAlchemyStorage(database_url)
    await first.open(migrate=True)
    await second.open(migrate=True)
    yield first, second
    await first.close()
    await second.close()
