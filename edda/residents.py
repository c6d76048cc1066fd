"""The parked executions that stay in memory, to go on without a replay when they are due."""

from __future__ import annotations

from collections import OrderedDict

from edda.execution import Execution


class Residents:
    """A bounded set of parked executions; the one that has been parked longest makes room."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parked: OrderedDict[str, Execution] = OrderedDict()
        self._channels: dict[str, str] = {}
        self._waiting: dict[str, dict[str, Execution]] = {}

    def keep(self, execution: Execution, channel: str | None = None) -> list[Execution]:
        """Keep a parked execution; returns those that had to make room and are to be ended.

        ``channel``: it waits for a message on this one, and for nothing else.
        """
        instance_id = execution.run.instance_id
        self._parked[instance_id] = execution
        if channel is not None:
            self._channels[instance_id] = channel
            self._waiting.setdefault(channel, {})[instance_id] = execution
        surplus = max(0, len(self._parked) - self._limit)
        removed = [self._parked.popitem(last=False) for _ in range(surplus)]
        for each, _ in removed:
            self._forget_channel(each)
        return [execution for _, execution in removed]

    def take(self, instance_id: str) -> Execution | None:
        """Hand over the execution of this instance, if it is here."""
        self._forget_channel(instance_id)
        return self._parked.pop(instance_id, None)

    def take_all(self) -> list[Execution]:
        """Hand over all of them."""
        everyone = list(self._parked.values())
        self._parked.clear()
        self._channels.clear()
        self._waiting.clear()
        return everyone

    def waiting_alone(self, instance_id: str) -> Execution | None:
        """The execution of this instance, if it is here and waits for one message and nothing else."""
        return self._parked[instance_id] if instance_id in self._channels else None

    def waiting(self, channel: str) -> list[Execution]:
        """Those that wait for a message on this channel and for nothing else, the longest parked first."""
        return [*self._waiting.get(channel, {}).values()]

    def _forget_channel(self, instance_id: str) -> None:
        channel = self._channels.pop(instance_id, None)
        if channel is not None:
            waiting = self._waiting[channel]
            del waiting[instance_id]
            if not waiting:
                del self._waiting[channel]

    def __len__(self) -> int:
        return len(self._parked)
