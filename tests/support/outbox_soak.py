"""Many events through relayers that are killed again and again, and what has to hold of what arrives."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from edda.clock import monotonic
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.writes_outbox import OutboxEventAdded
from tests.support.eventually import eventually
from tests.support.outbox import new_event
from tests.support.sink import Received, Sink
from tests.support.workers import Worker, Workers

PROGRAM = "tests.support.outbox_programs:relay"
_ADDING_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Load:
    """How many events, with how many different keys, through how many relayers, killed how often."""

    events: int
    keys: int
    relayers: int
    kills: int
    within: float
    """Seconds in which all have arrived, however slow the machine is."""

    @property
    def names(self) -> list[str]:
        """The ids of the events, key by key in turn: ``key-number``."""
        return [f"{number % self.keys}-{number // self.keys}" for number in range(self.events)]


@dataclass(slots=True)
class Arrivals:
    """What the sink was given, in order, without the bodies."""

    names: list[str]
    bodies: dict[str, set[int]]

    def take(self, received: Iterable[Received]) -> None:
        """Add posts; a body is remembered by its hash."""
        for each in received:
            self.names.append(each.id)
            self.bodies[each.id].add(hash(each.body))

    @property
    def repeated(self) -> int:
        """How many posts were repetitions."""
        return len(self.names) - len(self.bodies)

    def check(self, load: Load) -> None:
        """Nothing lost, nothing invented, the order of each key kept, repetitions equal to the first."""
        assert self.bodies.keys() == set(load.names)
        assert max(map(len, self.bodies.values())) == 1, "the same id with another body"
        highest: Counter[str] = Counter()
        for name in dict.fromkeys(self.names):
            key, _, number = name.partition("-")
            assert int(number) == highest[key], f"{name} arrived before {key}-{highest[key]}"
            highest[key] += 1


@dataclass(frozen=True, slots=True)
class Figures:
    """What a soak came to."""

    seconds: float
    repeated: int
    kills: int


class Soak:
    """One run; the sink counts what arrives, the database is shared by all relayers."""

    def __init__(self, storage: SQLAlchemyStorage, workers: Workers, sink: Sink, load: Load) -> None:
        self._storage = storage
        self._workers = workers
        self._sink = sink
        self._load = load
        self._arrivals = Arrivals([], defaultdict(set))
        self._kills = 0

    async def run(self) -> Figures:
        """Add the events while relayers send them and die; check what arrived."""
        began = monotonic()
        adding = asyncio.create_task(self._add())
        relayers = [await self._start() for _ in range(self._load.relayers)]
        for part in range(1, self._load.kills + 1):
            await self._reach(self._load.events * part // (self._load.kills + 1))
            turn = part % len(relayers)
            await relayers[turn].kill()
            self._kills += 1
            relayers[turn] = await self._start()
        await adding
        await self._reach(self._load.events)
        await eventually(self._check_nothing_is_open, within=self._load.within)
        self._arrivals.take(self._drained())
        self._arrivals.check(self._load)
        return Figures(monotonic() - began, self._arrivals.repeated, self._kills)

    async def _add(self) -> None:
        names = iter(self._load.names)

        async def add() -> None:
            # The events of a key are added one after the other, and so in this order.
            for name in names:
                key = name.partition("-")[0]
                async with locks[key]:
                    await self._storage.submit(OutboxEventAdded(new_event(name, source=f"/{key}")))

        locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        await asyncio.gather(*(add() for _ in range(_ADDING_AT_ONCE)))

    async def _start(self) -> Worker:
        url = self._storage.engine.url.render_as_string(hide_password=False)
        worker = await self._workers.start(PROGRAM, url, self._sink.url, "16")
        await worker.wait_for_line("^ready$")
        return worker

    async def _reach(self, count: int) -> None:
        """Wait until so many different events have arrived."""

        def check() -> None:
            self._arrivals.take(self._drained())
            assert len(self._arrivals.bodies) >= count

        await eventually(check, within=self._load.within)

    def _drained(self) -> list[Received]:
        taken = list(self._sink.received)
        del self._sink.received[: len(taken)]
        return taken

    async def _check_nothing_is_open(self) -> None:
        assert await self._storage.seconds_until_outbox_due() is None
