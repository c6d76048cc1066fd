"""One storage for each kind of database: each behaviour is tested once and holds on all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from tests.support.recycling import RecycledDatabases


@pytest.fixture
async def storage(any_url: str) -> AsyncIterator[SQLAlchemyStorage]:
    """An open storage with an empty, migrated database."""
    storage = SQLAlchemyStorage(any_url)
    await storage.open(migrate=True)
    yield storage
    await storage.close()


@pytest.fixture(params=["sqlite", "memory", "postgresql", "mysql"])
async def any_url(
    request: pytest.FixtureRequest, recycled_databases: RecycledDatabases, tmp_path: Path
) -> AsyncIterator[str]:
    """The URL of a database without rows, once on each kind, one in memory included."""
    async with AsyncExitStack() as stack:
        if request.param == "memory":
            yield "sqlite:///:memory:"
        else:
            yield await stack.enter_async_context(recycled_databases.use(request.param, tmp_path))


@pytest.fixture
async def two_storages(
    empty_database_url: str,
) -> AsyncIterator[tuple[SQLAlchemyStorage, SQLAlchemyStorage]]:
    """Two storages on one database, as two worker processes have them."""
    first, second = SQLAlchemyStorage(empty_database_url), SQLAlchemyStorage(empty_database_url)
    await first.open(migrate=True)
    await second.open(migrate=True)
    yield first, second
    await first.close()
    await second.close()
