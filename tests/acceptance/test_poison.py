"""An instance that kills each worker that runs it: less and less often, and to nobody else's harm."""

from __future__ import annotations

import pytest

from tests.support.cluster import Cluster, Start


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_an_instance_that_kills_its_workers_is_counted_and_starves_nobody(cluster: Cluster) -> None:
    """Workers die of it until three deaths are counted; what they ran beside it all ends."""
    await cluster.storage()
    first = await cluster.worker(Start("kills_its_worker", {}))
    assert await first.wait() == 9
    await cluster.expire_leases(first.pid)
    await cluster.insert_due("five_steps", {}, 10)
    while (attempts := await _attempts(cluster)) < 3:
        worker = await cluster.worker()
        assert await worker.wait() == 9
        await cluster.expire_leases(worker.pid)
        assert await _attempts(cluster) <= attempts + 1
    last = await cluster.worker(WHOLESOME=1)
    await cluster.all_end(11)
    assert await last.terminate() == 0


async def _attempts(cluster: Cluster) -> int:
    """How many of its runs have died, as far as anybody has met that."""
    found = await cluster.instances()
    [poison] = [one for one in found.values() if one["workflow_name"] == "kills_its_worker"]
    return int(poison["attempts"])
