"""The chaos suite in its short form; the long one is ``make chaos``."""

from __future__ import annotations

import pytest

from tests.chaos.storm import Plan, brewing
from tests.support.server import DatabaseServer
from tests.support.workers import Workers

SHORT = Plan(orders=40, seconds=8, calm=(0.1, 0.4), seed=5, least=5)


@pytest.mark.timeout(400)
async def test_orders_end_right_whatever_is_done_to_workers_database_and_broker(
    private_server: DatabaseServer, workers: Workers
) -> None:
    """All end, each step is recorded once, tables and events are exactly right, no lease is left."""
    async with brewing(SHORT, private_server, workers) as storm:
        report = await storm.rage()
    assert report.findings == []
    assert sum(fault.injected for fault in report.faults) >= SHORT.least
