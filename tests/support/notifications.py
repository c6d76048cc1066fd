"""Workers that look for work only when they are told of it."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from tests.support.cluster import Cluster
from tests.support.eventually import eventually

# Nobody looks by himself within the time that a test takes.
TOLD: dict[str, Any] = {"notify_fallback_interval": 3600, "leader_lease_duration": 3 * 3600}
LISTENERS = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"
)
on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


async def listeners_reach(cluster: Cluster, count: int) -> None:
    """Wait until so many processes listen."""
    storage = await cluster.storage()

    async def check() -> None:
        async with storage.engine.connect() as connection:
            assert await connection.scalar(LISTENERS) == count

    await eventually(check)
