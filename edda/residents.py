"""The parked executions that stay in memory, to go on without a replay when they are due."""

from __future__ import annotations

from collections import OrderedDict

from edda.execution import Execution


class Residents:
    """A bounded set of parked executions; the one that has been parked longest makes room."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parked: OrderedDict[str, Execution] = OrderedDict()

    def keep(self, execution: Execution) -> list[Execution]:
        """Keep a parked execution; returns those that had to make room and are to be ended."""
        self._parked[execution.run.instance_id] = execution
        surplus = max(0, len(self._parked) - self._limit)
        return [self._parked.popitem(last=False)[1] for _ in range(surplus)]

    def take(self, instance_id: str) -> Execution | None:
        """Hand over the execution of this instance, if it is here."""
        return self._parked.pop(instance_id, None)

    def take_all(self) -> list[Execution]:
        """Hand over all of them."""
        everyone = list(self._parked.values())
        self._parked.clear()
        return everyone

    def __len__(self) -> int:
        return len(self._parked)
