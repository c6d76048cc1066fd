"""All that is stored of runs which are to go on from their history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from edda.storage import history, subscriptions, waits
from edda.storage.dialects.base import Dialect
from edda.storage.records import StoredRun

RunKey = tuple[str, str]
"""An instance, and its chain of recurs."""


async def load(
    connection: AsyncConnection, dialect: Dialect, runs: Sequence[RunKey]
) -> Mapping[RunKey, StoredRun]:
    """History, waits and subscriptions of these instances: three queries, however many there are."""
    instance_ids = sorted({instance_id for instance_id, _ in runs})
    chains = sorted({chain for _, chain in runs})
    steps = await history.load(connection, dialect, instance_ids)
    open_waits = await waits.load(connection, dialect, instance_ids)
    held = await subscriptions.load(connection, dialect, chains)
    return {
        (instance_id, chain): StoredRun(steps[instance_id], open_waits[instance_id], held[chain])
        for instance_id, chain in runs
    }
