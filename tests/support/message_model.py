"""What receivers must have seen: a model of channels in memory that a reader can check by eye."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Receiver:
    """A workflow that collects what it receives; broadcast ones count from their subscription on."""

    name: str
    mode: str
    expected: list[set[int]] = field(default_factory=list)


class MessageModel:
    """Numbered messages, published in groups; within a group nobody promises an order."""

    def __init__(self) -> None:
        self.receivers: dict[str, Receiver] = {}
        self.jobs: set[int] = set()
        self._next = 0

    def subscribe(self, name: str, mode: str) -> None:
        """A receiver has subscribed, before anything that is published from now on."""
        self.receivers[name] = Receiver(name, mode)

    def numbers(self, count: int) -> list[int]:
        """Payloads for a group of messages."""
        first = self._next
        self._next += count
        return list(range(first, self._next))

    def broadcast(self, group: list[int]) -> None:
        """Everybody who listens gets each of these."""
        for receiver in self.receivers.values():
            if receiver.mode == "broadcast":
                receiver.expected.append(set(group))

    def compete(self, group: list[int]) -> None:
        """Somebody gets each of these."""
        self.jobs.update(group)

    def send(self, group: list[int], name: str) -> None:
        """One receiver alone gets these."""
        self.receivers[name].expected.append(set(group))

    def check(self, name: str, seen: list[int]) -> None:
        """What a receiver saw, apart from jobs, is what it was meant to see, in that order."""
        others = [number for number in seen if number not in self.jobs]
        rest = list(others)
        for group in self.receivers[name].expected:
            part, rest = rest[: len(group)], rest[len(group) :]
            assert set(part) == group, f"{name}: expected {sorted(group)} next, saw {others}"
        assert rest == [], f"{name} saw more than was published: {rest}"

    def check_jobs(self, all_seen: list[list[int]]) -> None:
        """Each job was done once."""
        done = Counter(number for seen in all_seen for number in seen if number in self.jobs)
        assert set(done) == self.jobs, f"lost: {sorted(self.jobs - set(done))}"
        assert max(done.values(), default=1) == 1, f"done twice: {[n for n, c in done.items() if c > 1]}"
