"""What is done to workers, database, network and broker, and how long it takes until all is well again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from edda.clock import monotonic
from tests.chaos.fleet import Fleet, Member, NothingSeenError
from tests.support.eventually import eventually, pause
from tests.support.proxy import CommitFault, FaultProxy
from tests.support.server import DatabaseServer
from tests.support.sink import Sink

COMMITS = 5
LOOKING = (AssertionError, NothingSeenError)
PATIENCE = 120.0


@dataclass
class Fault:
    """One kind of fault: how often it was injected, and how many seconds each recovery took."""

    name: str
    injected: int = 0
    recoveries: list[float] = field(default_factory=list)


class Faults:
    """Injects faults one by one. What it begins it also ends."""

    def __init__(
        self,
        fleet: Fleet,
        server: DatabaseServer,
        proxy: FaultProxy,
        sink: Sink,
        *,
        lease: float,
        chance: random.Random,
    ) -> None:
        self._fleet = fleet
        self._server = server
        self._proxy = proxy
        self._sink = sink
        self._lease = lease
        self._chance = chance
        self.of_workers: dict[str, Callable[[], Awaitable[float | None]]] = {
            "worker killed (SIGKILL)": self._kill_worker,
            "worker frozen beyond its lease (SIGSTOP, SIGCONT)": self._freeze_worker,
            "worker stopped in order (SIGTERM)": self._stop_worker,
        }
        self.of_the_rest: dict[str, Callable[[], Awaitable[float | None]]] = {
            "database killed and started": self._kill_database,
            "database restarted in order": self._restart_database,
            "connections cut": self._cut,
            "connections refused": self._refuse,
            "network without a sound": self._withhold,
            "answers to COMMIT swallowed": self._lose_answers,
            "COMMITs swallowed": self._lose_commits,
            "broker away": self._stop_broker,
        }
        self.seen = {name: Fault(name) for name in (*self.of_workers, *self.of_the_rest)}

    async def inject(self, name: str) -> None:
        """Do this, wait until it is over, and note how long the recovery took."""
        fault = self.seen[name]
        fault.injected += 1
        recovery = await (self.of_workers | self.of_the_rest)[name]()
        if recovery is not None:
            fault.recoveries.append(recovery)

    # -- workers ----------------------------------------------------------------------

    async def _kill_worker(self) -> float | None:
        member = self._choose()
        self._fleet.retire(member)
        held = await self._held_by(member)
        await member.process.kill()
        _, recovery = await asyncio.gather(self._fleet.add(), self._taken_over(held))
        return recovery

    async def _freeze_worker(self) -> float | None:
        member = self._choose()
        member.is_free = False
        held = await self._held_by(member)
        member.process.freeze()
        taken_over = asyncio.create_task(self._taken_over(held))
        await pause(self._lease * self._chance.uniform(1.5, 3))
        member.process.thaw()
        member.is_free = True
        return await taken_over

    async def _stop_worker(self) -> float | None:
        member = self._choose()
        self._fleet.retire(member)
        held = await self._held_by(member)
        recovery, _ = await asyncio.gather(self._taken_over(held), member.process.terminate())
        await self._fleet.add()
        return recovery

    def _choose(self) -> Member:
        return self._chance.choice([member for member in self._fleet.members if member.is_free])

    async def _held_by(self, member: Member) -> set[tuple[str, int]]:
        return await eventually(lambda: self._fleet.leases_of(member), within=PATIENCE, retry_on=LOOKING)

    async def _taken_over(self, held: set[tuple[str, int]]) -> float | None:
        """Seconds until none of these leases is held any more; None if there were none."""
        began = monotonic()

        async def check() -> None:
            assert not held & await self._fleet.leases()

        await eventually(check, within=PATIENCE, retry_on=LOOKING)
        return monotonic() - began if held else None

    # -- database and network ---------------------------------------------------------

    async def _kill_database(self) -> float | None:
        await self._server.kill()
        return await self._up_again()

    async def _restart_database(self) -> float | None:
        await self._server.stop()
        return await self._up_again()

    async def _up_again(self) -> float | None:
        await pause(self._chance.uniform(0, 1))
        await self._server.start()
        return await self._progress()

    async def _cut(self) -> float | None:
        self._proxy.cut()
        return await self._progress()

    async def _refuse(self) -> float | None:
        self._proxy.refuse()
        await pause(self._lease * self._chance.uniform(0.2, 1.5))
        self._proxy.accept()
        return await self._progress()

    async def _withhold(self) -> float | None:
        self._proxy.black_hole()
        await pause(self._lease * self._chance.uniform(0.2, 1.5))
        self._proxy.heal()
        return await self._progress()

    async def _lose_answers(self) -> float | None:
        return await self._lose(CommitFault.ANSWER_LOST)

    async def _lose_commits(self) -> float | None:
        return await self._lose(CommitFault.REQUEST_LOST)

    async def _lose(self, fault: CommitFault) -> float | None:
        for _ in range(COMMITS):
            self._proxy.fail_next_commit(fault)
        return await self._progress()

    async def _stop_broker(self) -> float | None:
        await self._sink.stop()
        await pause(self._lease * self._chance.uniform(0.2, 1))
        await self._sink.start()
        return None

    async def _progress(self) -> float | None:
        """Seconds until the next step is recorded; None if there was nothing to do."""
        began = monotonic()
        before = await eventually(self._fleet.steps, within=PATIENCE, retry_on=LOOKING)

        async def check() -> bool:
            busy = await self._fleet.live()
            assert not busy or await self._fleet.steps() > before
            return bool(busy)

        progressed = await eventually(check, within=PATIENCE, retry_on=LOOKING)
        return monotonic() - began if progressed else None
