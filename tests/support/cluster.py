"""Worker processes on one database, what is stored there, and what the steps have done outside."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from sqlalchemy import Select, select

from edda import clock
from edda.codec.json import dumps
from edda.storage.models import workflow_history, workflow_instances, workflow_waits
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.writes import NewInstance
from tests.support.eventually import PATIENCE, eventually
from tests.support.workers import Worker, Workers

PROGRAMS = "tests.support.durable_programs"
LEASE_DURATION = 4.5
"""For tests that wait until a lease runs out. Whoever is to take over is started only when it may: a
machine that stands still for some seconds lets leases run out that nobody wanted to lose."""


@dataclass(frozen=True)
class Effect:
    """One execution of a step, as the outside saw it."""

    instance_id: str
    step: str
    pid: int
    at: datetime


@dataclass(frozen=True)
class Start:
    """What a worker starts when it is ready."""

    workflow: str
    arguments: dict[str, Any]
    count: int = 1


class Cluster:
    """Everything a test of several processes asks about."""

    def __init__(self, url: str, workers: Workers, directory: Path) -> None:
        self.url = url
        self._workers = workers
        self._effects = directory / "effects"
        self._storage: SQLAlchemyStorage | None = None

    async def storage(self) -> SQLAlchemyStorage:
        """The test's own view of the database; the first call makes the schema."""
        if self._storage is None:
            storage = SQLAlchemyStorage(self.url)
            await storage.open(migrate=True)
            self._storage = storage
        return self._storage

    async def close(self) -> None:
        if self._storage is not None:
            await self._storage.close()

    # -- processes ------------------------------------------------------------------

    async def worker(self, *starts: Start, url: str | None = None, **options: Any) -> Worker:
        """A worker process that is ready; upper-case options are its environment, others the app's."""
        process = await self._workers.start(f"{PROGRAMS}:work", env=self._env(starts, url, options))
        await process.wait_for_line("^ready$")
        return process

    async def server(self, **options: Any) -> tuple[Worker, int]:
        """A uvicorn server of the app, and its port."""
        command = (sys.executable, "-m", "uvicorn", "--factory", f"{PROGRAMS}:make_app", "--port", "0")
        process, line = await self.run(*command, line=r"running on http://[\d.]+:(\d+)", **options)
        return process, int(line[1])

    async def run(self, *command: str, line: str, **options: Any) -> tuple[Worker, re.Match[str]]:
        """Any command with the app in it, and the line by which it says that it runs."""
        process = await self._workers.start_command(*command, env=self._env((), None, options))
        return process, await process.wait_for_line(line)

    async def kill(self, worker: Worker) -> None:
        """SIGKILL it, and let the time pass after which its leases have run out."""
        await worker.kill()
        await self.expire_leases(worker.pid)

    async def expire_leases(self, pid: int) -> None:
        """Let the leases of a dead process have run out."""
        storage = await self.storage()
        table = workflow_instances
        dead = table.c.lease_owner.like(f"%-{pid}-%")
        async with storage.engine.begin() as connection:
            await connection.execute(table.update().where(dead).values(due_at=clock.now()))
        await storage.alert_others()

    async def freeze(self, worker: Worker) -> None:
        """SIGSTOP it; on SQLite while it writes nothing, since it would have the file to itself."""
        storage = await self.storage()
        async with storage.engine.connect() as connection:
            if storage.dialect.has_one_writer:
                await connection.exec_driver_sql("BEGIN IMMEDIATE")
            worker.freeze()
            await connection.rollback()

    def _env(self, starts: Sequence[Start], url: str | None, options: dict[str, Any]) -> dict[str, str]:
        app = {name: value for name, value in options.items() if name.islower()}
        return {
            "DATABASE_URL": url or self.url,
            "EFFECTS": str(self._effects),
            "APP": json.dumps(app),
            "START": json.dumps([astuple(start) for start in starts]),
            **{name: str(value) for name, value in options.items() if name.isupper()},
        }

    def open_the_gate(self) -> None:
        """Let the steps go on that are held."""
        self._effects.with_name(self._effects.name + ".open").touch()

    # -- effects --------------------------------------------------------------------

    def effects(self) -> list[Effect]:
        """All executions of steps so far, in order."""
        if not self._effects.exists():
            return []
        lines = map(json.loads, self._effects.read_text().splitlines())
        return [Effect(who, step, pid, datetime.fromtimestamp(at, UTC)) for who, step, pid, at in lines]

    async def effects_reach(self, count: int, *, of: Worker | None = None) -> None:
        """Wait until that many steps have been executed (by this worker)."""

        def check() -> None:
            assert len([one for one in self.effects() if of is None or one.pid == of.pid]) >= count

        await eventually(check)

    # -- the database ---------------------------------------------------------------

    async def insert_due(
        self, workflow: str, arguments: dict[str, Any], count: int, *, first: int = 0
    ) -> None:
        """Instances that no worker holds yet and any may take, numbered from ``first``."""
        storage = await self.storage()
        writes = [
            NewInstance(f"{workflow}-{number:032x}", workflow, "0" * 64, "acceptance", dumps(arguments))
            for number in range(first, first + count)
        ]
        await asyncio.gather(*(storage.submit(write) for write in writes))

    async def instances(self) -> dict[str, dict[str, Any]]:
        """All instances by id."""
        return {row["instance_id"]: row for row in await self._rows(select(*workflow_instances.c))}

    async def history(self) -> list[dict[str, Any]]:
        """All recorded steps, in the order of recording, with their data read."""
        rows = await self._rows(select(*workflow_history.c).order_by(workflow_history.c.id))
        return [row | {"event_data": json.loads(row["event_data"])} for row in rows]

    async def waits(self) -> list[dict[str, Any]]:
        """All open waits."""
        return await self._rows(select(*workflow_waits.c))

    async def _rows(self, query: Select[Any]) -> list[dict[str, Any]]:
        storage = await self.storage()
        async with storage.engine.connect() as connection:
            return [dict(row) for row in (await connection.execute(query)).mappings()]

    async def all_end(
        self, count: int, *, failed: int = 0, within: float = PATIENCE
    ) -> dict[str, dict[str, Any]]:
        """Wait until this many instances have completed, and so many others failed."""
        expected = Counter({"completed": count, "failed": failed})

        async def check() -> dict[str, dict[str, Any]]:
            found = await self.instances()
            assert Counter(one["status"] for one in found.values()) == expected, found
            return found

        return await eventually(check, within=within)

    async def check_steps(self, per_instance: int, *, executed_once: bool = False) -> None:
        """Each step is recorded once and as completed, was executed, and never after its record."""
        rows = await self.history()
        recorded = {(row["instance_id"], row["activity_id"]): row["created_at"] for row in rows}
        executions = Counter((effect.instance_id, effect.step) for effect in self.effects())
        assert {row["event_type"] for row in rows} == {"ActivityCompleted"}
        assert not [row for row in rows if "retry_metadata" in row["event_data"]]
        assert len(recorded) == len(rows)
        assert set(Counter(row["instance_id"] for row in rows).values()) == {per_instance}
        assert executions.keys() == recorded.keys()
        late = [one for one in self.effects() if one.at > recorded[one.instance_id, one.step]]
        assert not late, f"executed again after it was recorded: {late}"
        if executed_once:
            assert set(executions.values()) == {1}


def result_of(instance: dict[str, Any]) -> Any:
    """What the workflow returned."""
    return json.loads(instance["output_data"])["result"]


def step_names(effects: Iterable[Effect]) -> list[str]:
    """The steps in the order of their execution."""
    return [effect.step for effect in effects]


async def post_event(port: int, event_type: str, event_id: str, data: Any) -> int:
    """POST a structured CloudEvent; returns the status of the answer."""
    event = {"specversion": "1.0", "id": event_id, "source": "/test", "type": event_type, "data": data}
    body, headers = json.dumps(event), {"content-type": "application/cloudevents+json"}

    def send() -> int:
        connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request("POST", "/", body, headers)
            return connection.getresponse().status

    return await asyncio.to_thread(send)
