"""Removing what nobody needs any more because of its age."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from edda.ids import fraction
from edda.loops.base import Loop
from edda.storage.message_writes import ChannelsPurged, MessagesPurged, Swept
from edda.storage.protocol import WriterPort
from edda.storage.upkeep_writes import InstancesPurged, InstancesSwept
from edda.storage.writes import InboxPurged, Write
from edda.storage.writes_outbox import OutboxPurged

A = TypeVar("A")

INTERVAL = 3600.0
# A new leader begins with what is more urgent.
FIRST_PAUSE = 60.0
_JITTER = 0.1
# Small and with pauses, so that the writes of runs, which share the writer, hardly notice.
BATCH = 500
HISTORY_ROWS = 5000
PAUSE = 0.1

Sweep = MessagesPurged | ChannelsPurged | InstancesPurged


class _NoLongerLeadsError(Exception):
    """What is left is the next leader's to remove."""


class RetentionLoop(Loop):
    """Removes old rows, a batch of each kind at a time until nothing old is left; then rests for an hour.

    Only while this worker leads. Two that clean at once would do no harm: they pass over
    each other's rows. Nothing but growth follows when none does.
    """

    name = "retention"

    def __init__(
        self,
        storage: WriterPort,
        *,
        older_than: float,
        leads: Callable[[], bool],
        instances_older_than: float | None = None,
        interval: float = INTERVAL,
        batch: int = BATCH,
    ) -> None:
        super().__init__()
        self._storage = storage
        self._leads = leads
        self._interval = interval
        self._batch = batch
        self._purges = (InboxPurged(older_than, batch), OutboxPurged(older_than, batch))
        # Channels after the messages, without which they are not needed, and messages after
        # the instances, for which they may have been kept.
        instances: tuple[Sweep, ...] = ()
        if instances_older_than is not None:
            instances = (InstancesPurged(instances_older_than, batch, HISTORY_ROWS),)
        self._sweeps = (*instances, MessagesPurged(older_than, batch), ChannelsPurged(batch))
        self._pending: list[Sweep] = [*self._sweeps]

    def begin(self) -> None:
        """This worker leads from now on."""
        self.wake_in(min(FIRST_PAUSE, self._interval))

    async def round(self) -> float:
        """Remove one batch of each kind of row."""
        try:
            more = await self._remove()
        except _NoLongerLeadsError:
            more = False
        if more:
            return PAUSE
        self._pending = [*self._sweeps]
        return self._interval * (1 + _JITTER * fraction())

    async def _remove(self) -> bool:
        removed = [await self._submit(purge) for purge in self._purges]
        swept = [await self._sweep(sweep) for sweep in self._pending]
        self._pending = [each.rest for each in swept if each.rest is not None]
        return bool(self._pending) or max(removed) >= self._batch

    async def _sweep(self, sweep: Sweep) -> Swept | InstancesSwept:
        return await self._submit(sweep)

    async def _submit(self, write: Write[A]) -> A:
        if not self._leads():
            raise _NoLongerLeadsError
        return await self._storage.submit(write)
