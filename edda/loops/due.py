"""Picking up what is due: new and handed-back instances, timers, and instances of dead workers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from edda.loops.base import Loop
from edda.loops.batch_size import BatchSize
from edda.places import Places
from edda.replay import ReplayEngine
from edda.storage.protocol import StorageProtocol
from edda.storage.writes import InstancesClaimed

_NEXT_LOOK = 0.01


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
        batch: BatchSize,
        places: Places,
        poll_pause: Callable[[], float],
    ) -> None:
        super().__init__()
        self._storage = storage
        self._engine = engine
        self._worker_id = worker_id
        self._lease_seconds = lease_seconds
        self._batch = batch
        self._places = places
        self._poll_pause = poll_pause
        self._in_vain = 0

    async def round(self) -> float:
        """Claim a batch if anything is due; otherwise look again when the next thing is.

        After a full batch there is more: it is claimed without a look, and in as many
        batches at once as there is room for, which share their statements.
        """
        names = tuple(self._engine.workflow_names())
        poll = self._poll_pause()
        if not self._places.is_awaited:
            due_in = await self._storage.seconds_until_due(names)
            if due_in is None:
                return poll
            if due_in > 0:
                return min(poll, due_in)
        free = self._places.free
        if not free:  # a run that ends wakes the loop again
            self._places.is_awaited = True
            return poll
        limits = self._limits(free)
        self._places.is_awaited = True
        counts = await asyncio.gather(*(self._claim(names, limit) for limit in limits))
        self._places.is_awaited = counts == limits
        # What is due and cannot be had is locked, by another worker that claims or for longer.
        self._in_vain = 0 if any(counts) else self._in_vain + 1
        return 0.0 if self._places.is_awaited else min(poll, _NEXT_LOOK * 2.0 ** min(self._in_vain, 16))

    def _limits(self, free: int) -> list[int]:
        batch = self._batch()
        if not self._places.is_awaited or batch >= free:
            return [min(batch, free)]
        return [batch] * (free // batch)

    async def _claim(self, names: tuple[str, ...], limit: int) -> int:
        claimed = await self._storage.submit(
            InstancesClaimed(self._worker_id, names, limit, self._lease_seconds)
        )
        for instance in claimed:
            self._places.take()
            self._engine.spawn(self._engine.run_claimed(instance)).add_done_callback(self._places.give_back)
        return len(claimed)
