"""Random publications, subscriptions, timeouts and crashes: everything arrives once, in order.

The outcome is compared with a model in memory, ``tests/support/message_model.py``.
"""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest
from sqlalchemy import or_, select

from edda import publish
from edda.app import EddaApp
from edda.storage.models import workflow_instances
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from tests.support.apps import Apps, always_replay
from tests.support.cluster import Cluster, Start
from tests.support.durable_programs import collects
from tests.support.eventually import eventually
from tests.support.message_model import MessageModel
from tests.support.workers import Worker

CHANNELS = {"broadcast": "news", "competing": "jobs"}
WAITING = "waiting_for_message"


class Play:
    """One random sequence of actions against apps on one database, and against the model."""

    def __init__(self, apps: list[EddaApp], chance: random.Random) -> None:
        self._apps = apps
        self._chance = chance
        self.model = MessageModel()

    async def act(self) -> None:
        actions = [self._subscribe, self._forget, *([self._publish] * 8), *([self._send] * 2)]
        await self._chance.choice(actions)()

    async def subscribe(self, mode: str) -> None:
        app = self._chance.choice(self._apps)
        with app.activate():
            name = await collects.start(
                channel=CHANNELS[mode], mode=mode, timeout=self._chance.choice([None, 0.02, 0.3])
            )
        self.model.subscribe(name, mode)

    async def _subscribe(self) -> None:
        await self.subscribe(self._chance.choice(list(CHANNELS)))

    async def _forget(self) -> None:
        """As after a crash: what is parked has to be replayed."""
        always_replay(self._chance.choice(self._apps))

    async def _publish(self) -> None:
        mode = self._chance.choice(list(CHANNELS))
        group = self.model.numbers(self._chance.choice([1, 1, 3, 10]))
        await asyncio.gather(*(self._tell(CHANNELS[mode], number) for number in group))
        (self.model.broadcast if mode == "broadcast" else self.model.compete)(group)

    async def _send(self) -> None:
        receiver = self._chance.choice(list(self.model.receivers.values()))
        group = self.model.numbers(1)
        await self._tell(CHANNELS[receiver.mode], group[0], target_instance_id=receiver.name)
        self.model.send(group, receiver.name)

    async def _tell(self, channel: str, data: Any, **options: Any) -> None:
        await publish(self._chance.choice(self._apps).storage, channel, data, **options)

    async def end(self) -> None:
        """Stop every receiver, after all it has to see, and compare."""
        for receiver in self.model.receivers.values():
            await self._tell(CHANNELS[receiver.mode], "stop", target_instance_id=receiver.name)
        seen = {name: await _seen(self._apps[0], name) for name in self.model.receivers}
        for name, numbers in seen.items():
            self.model.check(name, numbers)
        self.model.check_jobs(list(seen.values()))


async def _seen(app: EddaApp, name: str) -> list[int]:
    """What the receiver returned, at the end of its chain of recurs."""

    async def check() -> list[int]:
        last = await _end_of_chain(app, name)
        assert last["status"] == "completed", last
        seen: list[int] = json.loads(last["output_data"])["result"]["seen"]
        return seen

    return await eventually(check)


async def _end_of_chain(app: EddaApp, name: str) -> dict[str, Any]:
    storage = app.storage
    assert isinstance(storage, SQLAlchemyStorage)
    columns = workflow_instances.c
    query = select(*columns).where(or_(columns.chain_id == name, columns.instance_id == name))
    async with storage.engine.connect() as connection:
        rows = [dict(row) for row in (await connection.execute(query)).mappings()]
    return next(row for row in rows if row["status"] != "recurred")


@pytest.mark.parametrize("seed", range(3))
async def test_every_message_arrives_once_and_in_order(apps: Apps, seed: int) -> None:
    two = [await apps.start(), await apps.start()]
    play = Play(two, random.Random(f"{seed}"))
    for mode in ("broadcast", "competing", "competing"):
        await play.subscribe(mode)
    for _ in range(120):
        await play.act()
    await play.end()


async def _publish_through(cluster: Cluster, channel: str, numbers: list[int], **options: Any) -> None:
    storage = await cluster.storage()
    for number in numbers:
        await publish(storage, channel, number, **options)


async def test_killed_workers_neither_lose_nor_double_a_message(cluster: Cluster) -> None:
    """Two workers run the receivers; one after the other is killed while messages are published."""
    chance = random.Random(cluster.url.partition(":")[0])
    model = MessageModel()
    starts = [
        Start("collects", {"channel": CHANNELS[mode], "mode": mode, "timeout": 0.05}, 2) for mode in CHANNELS
    ]
    await cluster.storage()
    workers = [await cluster.worker(*starts), await cluster.worker()]
    for name, mode in (await _receivers(cluster, 4)).items():
        model.subscribe(name, mode)
    for _ in range(4):
        for mode, channel in CHANNELS.items():
            group = model.numbers(chance.randint(5, 15))
            await _publish_through(cluster, channel, group)
            for number in group:  # one publisher: each is a group of its own
                (model.broadcast if mode == "broadcast" else model.compete)([number])
        workers.append(await _replace(cluster, workers.pop(chance.randrange(2))))
    for name, receiver in model.receivers.items():
        storage = await cluster.storage()
        await publish(storage, CHANNELS[receiver.mode], "stop", target_instance_id=name)
    await eventually(lambda: _check_completed(cluster, 4))
    seen = {name: await _collected(cluster, name) for name in model.receivers}
    for name, numbers in seen.items():
        model.check(name, numbers)
    model.check_jobs(list(seen.values()))


async def _replace(cluster: Cluster, worker: Worker) -> Worker:
    await cluster.kill(worker)
    return await cluster.worker()


async def _receivers(cluster: Cluster, count: int) -> dict[str, str]:
    """The receivers that wait, with their modes."""

    async def check() -> dict[str, str]:
        rows = (await cluster.instances()).values()
        waiting = [row for row in rows if row["status"] == WAITING]
        assert len(waiting) == count
        return {row["instance_id"]: json.loads(row["input_data"])["mode"] for row in waiting}

    return await eventually(check)


async def _collected(cluster: Cluster, name: str) -> list[int]:
    """What the last of the chain of this receiver returned."""
    rows = (await cluster.instances()).values()
    last = next(
        row for row in rows if row["status"] == "completed" and name in (row["chain_id"], row["instance_id"])
    )
    seen: list[int] = json.loads(last["output_data"])["result"]["seen"]
    return seen


async def _check_completed(cluster: Cluster, count: int) -> None:
    rows = (await cluster.instances()).values()
    assert [row["status"] for row in rows].count("completed") == count
