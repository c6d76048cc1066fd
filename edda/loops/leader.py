"""Leading the workers: one of them at a time does for all what only one needs to do."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable

from edda.clock import monotonic
from edda.exceptions import StorageError
from edda.ids import fraction
from edda.loops.base import Loop
from edda.storage.protocol import WriterPort
from edda.storage.upkeep_writes import LeadershipClaimed, LeadershipResigned

# So that a lease is renewed in time also if one renewal fails.
_RENEWALS = 3
# Those who wait for the same term to end do not all ask at once.
_JITTER = 0.1
_RESIGNING_SECONDS = 1.0

logger = logging.getLogger(__name__)


class LeaderLoop(Loop):
    """Becomes the leader when there is none, and stays it as long as it can tell the database so.

    A term is trusted for less long than the database does: from before the question on, by a
    clock that nobody sets. So a worker that stood still, or that the database no longer
    hears, has ceased to lead before another one begins. Without any leader the duties wait,
    and nothing else does.
    """

    name = "leader"

    def __init__(
        self,
        storage: WriterPort,
        *,
        worker_id: str,
        lease_seconds: float,
        heartbeat_seconds: float,
        elected: Callable[[], None],
    ) -> None:
        super().__init__()
        self._storage = storage
        self._worker_id = worker_id
        self._lease_seconds = lease_seconds
        self._heartbeat = min(heartbeat_seconds, lease_seconds / _RENEWALS)
        self._elected = elected
        self._until = float("-inf")
        self._led = False
        self.has_asked = False

    def leads(self) -> bool:
        """Whether this worker may do now what only the leader does."""
        return monotonic() < self._until

    async def round(self) -> float:
        """Ask for a term, or for a longer one."""
        self._note_expiry()
        asked_at = monotonic()
        claim = LeadershipClaimed(self._worker_id, self._lease_seconds)
        term = await self._storage.submit(claim, within=self._heartbeat)
        self.has_asked = True
        if not term.granted:
            self._until = float("-inf")
            self._note_expiry()
            return min(self._heartbeat, term.seconds) * (1 + _JITTER * fraction())
        self._until = asked_at + self._lease_seconds
        if not self._led and self.leads():
            self._led = True
            logger.info("Leads the workers: %s", self._worker_id)
            self._elected()
        return self._heartbeat

    def _note_expiry(self) -> None:
        if self._led and not self.leads():
            self._led = False
            logger.info("No longer leads the workers: %s", self._worker_id)

    async def stop(self) -> None:
        """End the loop, and give the term back so that another worker need not wait for its end."""
        await super().stop()
        if self.leads():
            self._until = float("-inf")
            self._note_expiry()
            # What cannot be said now is said by the expiry.
            with contextlib.suppress(StorageError):
                await self._storage.submit(LeadershipResigned(self._worker_id), within=_RESIGNING_SECONDS)
