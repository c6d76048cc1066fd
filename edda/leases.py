"""The leases a worker holds, and their renewal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from edda.clock import monotonic
from edda.exceptions import StorageError
from edda.storage.protocol import StorageProtocol
from edda.storage.records import Lease
from edda.storage.writes import LeasesRenewed, Verdict


class Holder(Protocol):
    """A run, or what stands for one that is still being loaded."""

    lease: Lease

    @property
    def instance_id(self) -> str:
        """The instance that is leased."""
        ...

    def lease_left(self) -> float:
        """Seconds for which the lease is good, as far as the holder knows."""
        ...

    def trust_lease_from(self, asked_at: float) -> None:
        """Count the lease from this moment."""
        ...

    def lose_lease(self) -> object:
        """Draw the consequence of a lease that has run out."""
        ...

    def obey(self, verdict: Verdict) -> None:
        """Draw the consequence of a renewal that was refused."""
        ...


class Loading:
    """Holds the lease of a run that is still being loaded; a loss the run learns from its first write."""

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.asked_at = monotonic()

    @property
    def instance_id(self) -> str:
        """The instance that is leased."""
        return self.lease.instance_id

    def lease_left(self) -> float:
        """Seconds for which the lease is good."""
        return max(0.0, self.asked_at + self.lease.seconds - monotonic())

    def trust_lease_from(self, asked_at: float) -> None:
        """Count the lease from this moment."""
        self.asked_at = asked_at

    def lose_lease(self) -> None:
        """Nothing is done yet that could be stopped."""

    def obey(self, verdict: Verdict) -> None:
        """As above."""


class HeldLeases:
    """The runs of a worker that hold a lease; one statement renews them all."""

    def __init__(self, storage: StorageProtocol) -> None:
        self._storage = storage
        self._runs: dict[str, Holder] = {}
        self._tell_length: Callable[[float], None] | None = None

    def on_held(self, tell_length: Callable[[float], None]) -> None:
        """Tell this function the length of each lease that is held from now on."""
        self._tell_length = tell_length

    @contextmanager
    def loading(self, lease: Lease) -> Iterator[Loading]:
        """Renew this lease while its run is loaded, however long that takes, and until the run is held."""
        holder = Loading(lease)
        self.hold(holder)
        try:
            yield holder
        finally:
            self.drop(holder)

    def hold(self, run: Holder) -> None:
        """Renew the lease of this run from now on."""
        self._runs[run.instance_id] = run
        if self._tell_length is not None:
            self._tell_length(run.lease.seconds)

    def shortest(self, default: float) -> float:
        """The length of the shortest lease held, in seconds."""
        return min((run.lease.seconds for run in self._runs.values()), default=default)

    def drop(self, run: Holder) -> None:
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
            refused = await self._storage.submit(
                LeasesRenewed(tuple(run.lease for run in runs)), within=within
            )
        except StorageError:
            self._stop_expired(runs)
            raise
        for run in runs:
            verdict = refused.get(run.instance_id)
            if verdict is None:
                run.trust_lease_from(asked_at)
            elif self._runs.get(run.instance_id) is run:
                run.obey(verdict)
        return len(runs) - len(refused)

    def _stop_expired(self, runs: list[Holder]) -> None:
        for run in runs:
            if run.lease_left() == 0 and self._runs.get(run.instance_id) is run:
                run.lose_lease()
                self.drop(run)
