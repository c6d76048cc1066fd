"""What the random operations of the oracle choose from, by chance."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

from edda.storage.records import Lease, LeasedEvent
from tests.proof.oracle_world import HOUR, Instance, World

A = TypeVar("A")

CHANNELS = ("news", "jobs", "mixed")
RARE = 8
WORKERS = ("worker-1", "worker-2")


@dataclass
class Chooser:
    """Makes the choices of one step, by chance."""

    world: World
    chance: Random
    numbers: Iterable[int]
    leased: Sequence[LeasedEvent] = ()
    """What relayers have leased, the newest last."""
    used: set[str] = field(default_factory=set)
    """What the writes of this batch concern already: each goes to an instance or key of its own."""

    def of(self, options: Sequence[A]) -> A:
        return self.chance.choice(options)

    def once_in(self, times: int) -> bool:
        return self.chance.randrange(times) == 0

    def name(self, kind: str) -> str:
        return f"{kind}-{next(iter(self.numbers))}"

    def seconds(self) -> float:
        """Half an hour and so many hours."""
        return self.of((0.5, 2.5, 6.5, 12.5)) * HOUR

    def instance(self, options: Iterable[Instance] | None = None) -> Instance | None:
        there = self.world.instances.values() if options is None else options
        free = [one for one in there if one.instance_id not in self.used]
        if not free:
            return None
        one = self.of(free)
        self.used.add(one.instance_id)
        return one

    def lease(self, run: Callable[[Instance], bool] = lambda _: True) -> Lease | None:
        """A lease that is held, mostly, or one that was."""
        if self.world.given and self.once_in(RARE):
            lease = self.of(self._asked() or self.world.given if self.once_in(2) else self.world.given)
            if lease.instance_id not in self.used:
                self.used.add(lease.instance_id)
                return lease
        held = [one for one in self.world.instances.values() if one.owner is not None]
        one = self.instance([one for one in held if run(one)]) or self.instance(held)
        return (
            None
            if one is None or one.owner is None
            else Lease(one.instance_id, one.owner, one.token, HOUR / 2)
        )

    def _asked(self) -> list[Lease]:
        """The leases of runs that are to cancel and do not know."""
        instances = self.world.instances
        return [
            lease
            for lease in self.world.given
            if (one := instances.get(lease.instance_id)) is not None
            and (one.owner, one.token, one.cancel_token) == (lease.owner, lease.token + 1, lease.token)
        ]

    def run_of(self, lease: Lease) -> Instance | None:
        return self.world.instances.get(lease.instance_id)

    def chain(self, lease: Lease) -> str:
        return self.world.chain_of(lease.instance_id)

    def channels_of(self, lease: Lease) -> list[str]:
        """Those that its chain has subscribed to, and the one that is its own under this id."""
        chain = self.chain(lease)
        held = [channel for subscriber, channel in self.world.subscriptions if subscriber == chain]
        return [*held, f"post:{lease.instance_id}"]

    def channel_of(self, lease: Lease) -> str:
        return self.of(CHANNELS) if self.once_in(RARE) else self.of(self.channels_of(lease))

    def step(self, lease: Lease) -> str:
        """A new step, mostly, or one that is recorded."""
        run = self.run_of(lease)
        recorded = list(run.history) if run is not None else []
        return self.of(recorded) if recorded and self.once_in(RARE) else self.name("step")
