"""A cluster of worker processes on each kind of database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.cluster import Cluster
from tests.support.workers import Workers


@pytest.fixture
async def cluster(database_url: str, workers: Workers, tmp_path: Path) -> AsyncIterator[Cluster]:
    """Worker processes on a fresh database; all have ended before it is checked for connections."""
    cluster = Cluster(database_url, workers, tmp_path)
    try:
        yield cluster
    finally:
        await workers.close()
        await cluster.close()
