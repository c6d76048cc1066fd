"""The workers of the chaos suite, and what the database says of them and their orders."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, func, select

from edda.codec.json import dumps
from edda.storage.models import workflow_history, workflow_instances, workflow_outbox
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.writes import NewInstance
from edda.types import TERMINAL_STATUSES
from tests.chaos import orders
from tests.support.workers import Worker, Workers

PROGRAM = "tests.chaos.orders:work"
# The one who looks waits out every outage that it makes.
PATIENCE = 300.0

_instances = workflow_instances.c
_LIVE = _instances.status.not_in([status.value for status in TERMINAL_STATUSES])


class NothingSeenError(Exception):
    """The database cannot be asked at this moment."""


class Member:
    """One worker process and the name under which it holds leases."""

    def __init__(self, process: Worker, worker_id: str) -> None:
        self.process = process
        self.worker_id = worker_id
        self.is_free = True
        """Whether nothing is being done to it at this moment."""


class Fleet:
    """Workers that reach the database by one way, and a look at it by another."""

    def __init__(self, workers: Workers, *, url: str, far_url: str, options: dict[str, Any]) -> None:
        self._workers = workers
        self._far_url = far_url
        self._options = options
        self.members: list[Member] = []
        self.former: list[Member] = []
        self.storage = SQLAlchemyStorage(url, notifications=False)

    async def open(self, size: int) -> None:
        """Make the tables and start the workers."""
        await self.storage.open(migrate=True)
        await orders.make_tables(self.storage.engine)
        await asyncio.gather(*(self.add() for _ in range(size)))

    async def close(self) -> None:
        await self.storage.close()

    async def add(self) -> Member:
        """One more worker, which is ready; it waits for the database if it must."""
        environment = {"DATABASE_URL": self._far_url, "APP": json.dumps(self._options)}
        process = await self._workers.start(PROGRAM, env=environment)
        line = await process.wait_for_line(r"^ready (\S+)$", within=PATIENCE)
        member = Member(process, line[1])
        self.members.append(member)
        return member

    def retire(self, member: Member) -> None:
        """It has ended, or is about to."""
        self.members.remove(member)
        self.former.append(member)

    @property
    def outputs(self) -> Sequence[str]:
        """What all workers have said, in whole lines."""
        return [line for member in (*self.former, *self.members) for line in member.process.lines]

    # -- orders -----------------------------------------------------------------------

    async def place(self, numbers: Sequence[int]) -> None:
        """Orders that any worker may take."""
        await asyncio.gather(*(self._place(number) for number in numbers))

    async def _place(self, number: int) -> None:
        instance_id = f"chaos_order-{number:08}"
        await self.storage.submit(
            NewInstance(instance_id, "chaos_order", "0" * 64, "chaos", dumps({"number": number})),
            within=PATIENCE,
        )

    # -- looks ------------------------------------------------------------------------

    async def rows(self, query: Select[Any]) -> list[Any]:
        """What the query finds; raises ``NothingSeenError`` while the database is away."""
        try:
            async with self.storage.engine.connect() as connection:
                return list(await connection.execute(query))
        except Exception as error:  # a driver may raise anything while a server dies
            raise NothingSeenError(str(error)) from error

    async def leases_of(self, member: Member) -> set[tuple[str, int]]:
        """The leases that this worker holds, as instance and token."""
        query = select(_instances.instance_id, _instances.lease_token)
        rows = await self.rows(query.where(_instances.lease_owner == member.worker_id))
        return {(row.instance_id, row.lease_token) for row in rows}

    async def leases(self) -> set[tuple[str, int]]:
        """All leases there are, as instance and token."""
        query = select(_instances.instance_id, _instances.lease_token)
        rows = await self.rows(query.where(_instances.lease_owner.is_not(None)))
        return {(row.instance_id, row.lease_token) for row in rows}

    async def live(self) -> int:
        """How many orders have not ended."""
        return int((await self.rows(select(func.count()).where(_LIVE)))[0][0])

    async def steps(self) -> int:
        """How far the orders have come, as a number that only grows."""
        return int((await self.rows(select(func.count(workflow_history.c.id))))[0][0] or 0)

    async def statuses(self) -> Counter[str]:
        """How many orders have which status."""
        query = select(_instances.status, func.count()).group_by(_instances.status)
        return Counter(dict(await self.rows(query)))

    async def outbox(self) -> Counter[str]:
        """How many events have which status."""
        status = workflow_outbox.c.status
        query = select(status, func.count()).group_by(status)
        return Counter(dict(await self.rows(query)))
