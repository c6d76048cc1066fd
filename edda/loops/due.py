"""Picking up what is due: new and handed-back instances, timers, and instances of dead workers."""

from __future__ import annotations

import random

from edda.loops.base import Loop
from edda.replay import ReplayEngine
from edda.storage.protocol import StorageProtocol
from edda.storage.writes import InstancesClaimed

# Polls of several workers drift apart, so that they do not all ask at once.
_JITTER = 0.3


class DueLoop(Loop):
    """Claims due instances of known workflows, oldest first, and runs them side by side."""

    name = "due"

    def __init__(
        self,
        storage: StorageProtocol,
        *,
        engine: ReplayEngine,
        worker_id: str,
        lease_seconds: float,
        batch: int,
        concurrency: int,
        poll_interval: float = 1.0,
    ) -> None:
        super().__init__()
        self._storage = storage
        self._engine = engine
        self._worker_id = worker_id
        self._lease_seconds = lease_seconds
        self._batch = batch
        self._concurrency = concurrency
        self._poll_interval = poll_interval
        self._claimed = 0

    async def round(self) -> float:
        """Claim one batch if anything is due; otherwise look again when the next thing is."""
        names = tuple(self._engine.workflow_names())
        poll = self._poll_interval * (1 + random.uniform(0, _JITTER))  # noqa: S311 - spreads load, hides nothing
        due_in = await self._storage.seconds_until_due(names)
        if due_in is None:
            return poll
        free = self._concurrency - self._claimed
        if due_in > 0 or free <= 0:  # a run that ends wakes the loop again
            return min(poll, due_in) if due_in > 0 else poll
        limit = min(self._batch, free)
        return 0.0 if await self._claim(names, limit) == limit else min(poll, 0.01)

    async def _claim(self, names: tuple[str, ...], limit: int) -> int:
        claimed = await self._storage.submit(
            InstancesClaimed(self._worker_id, names, limit, self._lease_seconds)
        )
        for instance in claimed:
            self._claimed += 1
            self._engine.spawn(self._engine.run_claimed(instance)).add_done_callback(self._run_ended)
        return len(claimed)

    def _run_ended(self, _: object) -> None:
        was_full = self._claimed >= self._concurrency
        self._claimed -= 1
        if was_full:
            self.wake()
