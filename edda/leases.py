"""The leases a worker holds, and their renewal."""

from __future__ import annotations

from collections.abc import Callable

from edda.clock import monotonic
from edda.exceptions import StorageError
from edda.run import Run
from edda.storage.protocol import StorageProtocol
from edda.storage.writes import LeasesRenewed


class HeldLeases:
    """The runs of a worker that hold a lease; one statement renews them all."""

    def __init__(self, storage: StorageProtocol) -> None:
        self._storage = storage
        self._runs: dict[str, Run] = {}
        self._tell_length: Callable[[float], None] | None = None

    def on_held(self, tell_length: Callable[[float], None]) -> None:
        """Tell this function the length of each lease that is held from now on."""
        self._tell_length = tell_length

    def hold(self, run: Run) -> None:
        """Renew the lease of this run from now on."""
        self._runs[run.instance_id] = run
        if self._tell_length is not None:
            self._tell_length(run.lease.seconds)

    def shortest(self, default: float) -> float:
        """The length of the shortest lease held, in seconds."""
        return min((run.lease.seconds for run in self._runs.values()), default=default)

    def drop(self, run: Run) -> None:
        """Renew it no longer; harmless when another run of the instance is held by now."""
        if self._runs.get(run.instance_id) is run:
            del self._runs[run.instance_id]

    def __len__(self) -> int:
        return len(self._runs)

    async def renew(self) -> int:
        """Extend all leases; stop the runs that have lost theirs. Returns how many were extended."""
        runs = list(self._runs.values())
        if not runs:
            return 0
        asked_at = monotonic()
        try:
            # Not for longer than the first lease lasts: after that its run is to be stopped.
            within = min(run.lease_left() for run in runs)
            lost = await self._storage.submit(LeasesRenewed(tuple(run.lease for run in runs)), within=within)
        except StorageError:
            self._stop_expired(runs)
            raise
        for run in runs:
            if run.instance_id not in lost:
                run.trust_lease_from(asked_at)
            elif self._runs.get(run.instance_id) is run:
                run.lose_lease()
        return len(runs) - len(lost)

    def _stop_expired(self, runs: list[Run]) -> None:
        for run in runs:
            if run.lease_left() == 0 and self._runs.get(run.instance_id) is run:
                run.lose_lease()
