"""One run of the chaos suite: orders come in, faults happen, and at the end all is looked through."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import make_url

from edda.clock import monotonic
from tests.chaos.audit import audit, repetitions
from tests.chaos.faults import LOOKING, Fault, Faults
from tests.chaos.fleet import Fleet
from tests.support.eventually import eventually, pause
from tests.support.proxy import proxy_to
from tests.support.server import DatabaseServer
from tests.support.sink import Sink, running_sink
from tests.support.workers import Workers

WORKERS = 3
LEASE_DURATION = 3.0
"""Of the leader, so that the lease of an instance is two thirds of it."""
PLACING = 0.25


@dataclass(frozen=True)
class Plan:
    """How much of what: orders over so many seconds, with these pauses between faults."""

    orders: int
    seconds: float
    calm: tuple[float, float] = (0.5, 2.0)
    seed: int = 0
    only: tuple[str, ...] = ()
    """Parts of the names of the faults to inject; all, if there are none."""
    least: int = 0
    """How many faults there are in any case, however long they take."""
    ending: float = 300.0
    """Seconds after the last fault within which all must have ended."""


@dataclass
class Report:
    """What was done and what was found."""

    plan: Plan
    faults: Sequence[Fault]
    findings: list[str] = field(default_factory=list)
    seconds: float = 0.0
    ending: float = 0.0
    statuses: dict[str, int] = field(default_factory=dict)
    events: int = 0
    repeated_events: int = 0
    commits: int = 0


@dataclass
class Storm:
    """The parts of a run."""

    plan: Plan
    fleet: Fleet
    faults: Faults
    sink: Sink
    commits: Callable[[], int]

    async def rage(self) -> Report:
        """Place the orders and inject faults for as long as planned; then wait for the end and look."""
        began = monotonic()
        until = began + self.plan.seconds
        chance = random.Random(self.plan.seed)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._place(until))
            for names in (self.faults.of_workers, self.faults.of_the_rest):
                chosen = [name for name in names if self._is_chosen(name)]
                if chosen:
                    group.create_task(self._inject(chosen, until, random.Random(chance.random())))
        report = Report(self.plan, [*self.faults.seen.values()], seconds=monotonic() - began)
        await self._until_ended(report)
        report.findings += await audit(self.fleet, self.sink, self.plan.orders)
        report.statuses = dict(await self.fleet.statuses())
        report.events, report.repeated_events = len(self.sink.received), repetitions(self.sink)
        report.commits = self.commits()
        return report

    def _is_chosen(self, name: str) -> bool:
        return not self.plan.only or any(part in name for part in self.plan.only)

    async def _place(self, until: float) -> None:
        placed, left = 0, self.plan.orders
        began = monotonic()
        while left:
            share = min(1.0, (monotonic() - began + PLACING) / (until - began))
            count = round(self.plan.orders * share) - placed
            await self.fleet.place(range(placed, placed + count))
            placed, left = placed + count, left - count
            await pause(PLACING)

    async def _inject(self, names: list[str], until: float, chance: random.Random) -> None:
        """Each fault once in an order of chance, then again."""
        while True:
            chance.shuffle(names)
            for name in names:
                await pause(chance.uniform(*self.plan.calm))
                if monotonic() > until and self._injected >= self.plan.least:
                    return
                await self.faults.inject(name)

    @property
    def _injected(self) -> int:
        return sum(fault.injected for fault in self.faults.seen.values())

    async def _until_ended(self, report: Report) -> None:
        began = monotonic()

        async def check() -> None:
            statuses, outbox = await self.fleet.statuses(), await self.fleet.outbox()
            assert statuses.keys() <= {"completed", "failed"}, statuses
            assert outbox.keys() <= {"published"}, outbox

        try:
            await eventually(check, within=self.plan.ending, retry_on=LOOKING)
        except LOOKING as error:
            report.findings.append(f"after {self.plan.ending} s not all has ended: {error}")
        report.ending = monotonic() - began


@contextlib.asynccontextmanager
async def brewing(plan: Plan, server: DatabaseServer, workers: Workers) -> AsyncIterator[Storm]:
    """Three workers behind a proxy before this server, and a broker."""
    url = server.url_for(await server.create_database())
    async with proxy_to(server) as proxy, running_sink() as sink:
        options = {
            "broker_url": sink.url,
            "leader_lease_duration": LEASE_DURATION,
            "leader_heartbeat_interval": 1,
        }
        far_url = proxy.url_for(make_url(url).database or "")
        fleet = Fleet(workers, url=url, far_url=far_url, options=options)
        await fleet.open(WORKERS)
        lease = LEASE_DURATION * 2 / 3
        faults = Faults(fleet, server, proxy, sink, lease=lease, chance=random.Random(plan.seed))
        try:
            yield Storm(plan, fleet, faults, sink, lambda: proxy.commits)
        finally:
            await workers.close()
            await fleet.close()
