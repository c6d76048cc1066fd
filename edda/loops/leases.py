"""Renewing the leases of the instances that this worker runs."""

from __future__ import annotations

from edda.leases import HeldLeases
from edda.loops.base import Loop


class LeaseLoop(Loop):
    """Extends every held lease each third of its length, all in one statement."""

    name = "leases"

    def __init__(self, leases: HeldLeases, *, lease_seconds: float) -> None:
        super().__init__()
        self._leases = leases
        self._lease_seconds = lease_seconds
        leases.on_held(self._note_length)

    async def round(self) -> float:
        """Renew them all."""
        await self._leases.renew()
        return self._leases.shortest(self._lease_seconds) / 3

    def _note_length(self, seconds: float) -> None:
        if seconds < self._lease_seconds:  # the usual ones are renewed in time anyway
            self.wake_in(seconds / 3)
