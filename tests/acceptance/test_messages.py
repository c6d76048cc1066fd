"""Messages between processes: who waits is woken in time, and who dies leaves his message to another."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection
from typing import Any

from edda import publish
from tests.support.cluster import Cluster, Start, result_of
from tests.support.eventually import eventually
from tests.support.notifications import TOLD, listeners_reach, on_postgresql

WAITING = "waiting_for_message"


def collectors(mode: str, count: int, **arguments: Any) -> Start:
    """So many receivers on the channel "jobs"."""
    return Start("collects", {"channel": "jobs", "mode": mode, **arguments}, count)


async def are_waiting(cluster: Cluster, count: int) -> list[str]:
    """Wait until so many instances wait for a message; returns their ids."""

    async def check() -> list[str]:
        rows = await cluster.instances()
        waiting = [name for name, row in rows.items() if row["status"] == WAITING]
        assert len(waiting) == count, rows
        return waiting

    return await eventually(check)


async def tell(cluster: Cluster, numbers: Collection[int]) -> None:
    """Publish from the process of the test."""
    storage = await cluster.storage()
    await asyncio.gather(*(publish(storage, "jobs", number) for number in numbers))


async def received(cluster: Cluster, count: int) -> list[int]:
    """Wait until so many messages are received, now or in runs that have recurred; returns them sorted."""

    async def check() -> list[int]:
        rows = await cluster.instances()
        seen = [number for row in rows.values() for number in _seen_before(row)]
        seen += [row["event_data"]["data"] for row in await _receipts(cluster)]
        assert len(seen) >= count, f"{len(seen)} of {count}"
        return sorted(seen)

    return await eventually(check)


def _seen_before(row: dict[str, Any]) -> list[int]:
    """What the last instance of a chain was given by those before it."""
    seen: list[int] = json.loads(row["input_data"]).get("seen") or []
    return [] if row["status"] == "recurred" else seen


async def _receipts(cluster: Cluster) -> list[dict[str, Any]]:
    """The receipts of live instances: those of a recurred one are in its archive."""
    return [row for row in await cluster.history() if row["event_type"] == "ChannelMessageReceived"]


async def test_consumers_in_two_processes_take_each_of_many_messages_once(cluster: Cluster) -> None:
    await cluster.storage()
    for _ in range(2):
        await cluster.worker(collectors("competing", 2))
    names = await are_waiting(cluster, 4)
    await tell(cluster, range(200))
    assert await received(cluster, 200) == list(range(200))
    storage = await cluster.storage()
    for name in names:
        await publish(storage, "jobs", "stop", target_instance_id=name)

    async def ended() -> list[int]:
        rows = (await cluster.instances()).values()
        done = [result_of(row)["seen"] for row in rows if row["status"] == "completed"]
        assert len(done) == 4
        return [number for seen in done for number in seen]

    assert sorted(await eventually(ended)) == list(range(200))


async def test_a_consumer_that_dies_before_it_takes_leaves_the_message_to_another(cluster: Cluster) -> None:
    """The only worker is frozen, so it cannot take the message for which its consumers are due."""
    await cluster.storage()
    first = await cluster.worker(collectors("competing", 2))
    await are_waiting(cluster, 2)
    await cluster.freeze(first)
    await tell(cluster, [1])
    assert [row["due_at"] is not None for row in (await cluster.instances()).values()].count(True) == 1
    await first.kill()
    await cluster.worker()
    assert await received(cluster, 1) == [1]
    await are_waiting(cluster, 2)


@on_postgresql
async def test_a_message_of_another_process_is_handled_as_soon_as_it_is_told(cluster: Cluster) -> None:
    """One after another, each for thirty that wait: nobody looks by himself for an hour."""
    await cluster.storage()
    await cluster.worker(collectors("broadcast", 30), **TOLD)
    await listeners_reach(cluster, 1)
    await are_waiting(cluster, 30)
    for count in range(1, 6):
        await tell(cluster, [count])
        await received(cluster, 30 * count)


async def test_a_message_of_another_process_is_handled_at_the_next_look_at_the_latest(
    cluster: Cluster,
) -> None:
    await cluster.storage()
    await cluster.worker(collectors("broadcast", 30), use_listen_notify=False)
    await are_waiting(cluster, 30)
    await tell(cluster, [1])
    assert await received(cluster, 30) == [1] * 30
