"""Looking for events that are due, and having them sent side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from edda.clock import monotonic
from edda.ids import fraction, new_key
from edda.loops.base import Loop
from edda.outbox.outage import Outage
from edda.outbox.sending import KeySender
from edda.storage.protocol import StorageProtocol
from edda.storage.writes_outbox import OutboxLeased

# Polls of several relayers drift apart, so that they do not all ask at once.
_JITTER = 0.3
# Events whose key another relayer is just busy with.
_SHORT_PAUSE = 0.02


class RelayLoop(Loop):
    """Leases due keys of the outbox, at most ``batch_size`` at a time, and lets a sender work on each."""

    name = "outbox"

    def __init__(
        self,
        storage: StorageProtocol,
        *,
        make_sender: Callable[[Callable[[], bool]], KeySender],
        outage: Outage,
        poll_interval: float,
        batch_size: int,
        lease_seconds: float,
    ) -> None:
        super().__init__()
        self._storage = storage
        self._sender = make_sender(lambda: self._stopping)
        self._outage = outage
        self._poll_interval = poll_interval
        self._batch_size = batch_size
        self._lease_seconds = lease_seconds
        self._sending: set[asyncio.Task[None]] = set()
        self._probe_at = 0.0

    async def round(self) -> float:
        """Lease what is due, as far as there is room; otherwise look again when the next event is due."""
        poll = self._poll_interval * (1.0 + _JITTER * fraction())
        room = self._room()
        if room <= 0:  # whatever ends wakes the loop
            return poll
        due_in = await self._storage.seconds_until_outbox_due()
        if due_in is None or due_in > 0:
            return poll if due_in is None else min(poll, due_in)
        asked_at = monotonic()
        events = await self._storage.submit(OutboxLeased(new_key(), room, self._lease_seconds))
        if events and self._outage.is_on:
            self._probe_at = monotonic() + self._poll_interval
        for event in events:
            task = asyncio.get_running_loop().create_task(self._sender.send(event, asked_at=asked_at))
            self._sending.add(task)
            task.add_done_callback(self._ended)
        return poll if len(events) == room else min(poll, _SHORT_PAUSE)

    def _room(self) -> int:
        if not self._outage.is_on:
            return self._batch_size - len(self._sending)
        return 1 if not self._sending and monotonic() >= self._probe_at else 0

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        self.wake()

    async def finish(self, seconds: float) -> None:
        """After :meth:`stop`: let what is being sent end within this time, and hand the rest back."""
        tasks = set(self._sending)
        if not tasks:
            return
        _, unfinished = await asyncio.wait(tasks, timeout=seconds)
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
