"""The attempts of one activity: counted, spaced out by the policy, and remembered over crashes."""

from __future__ import annotations

from edda.clock import monotonic
from edda.codec.json import dumps, loads_object
from edda.exceptions import StorageError
from edda.retry import GiveUp, RetryAfter, RetryMetadata, RetryPolicy, decide
from edda.run import Run
from edda.storage.writes import NewWait
from edda.types import JSONObject, WaitKind
from edda.unit_of_work import current_unit
from edda.waiting import OpenWait

# A longer back-off parks the workflow instead of holding its lease.
PARK_FROM_SECONDS = 5.0
# Trouble of the database is not the activity's failure. It is waited out, but not for ever.
_MOST_TROUBLES = 10
_LONGEST_TROUBLE_PAUSE = 2.0
# While a transaction is open around the activity, others may wait for its locks: on SQLite
# all that write. All the pauses together are shorter than they are ready to wait.
_LONGEST_PAUSE_IN_TRANSACTION = 1.0
_MOST_PAUSE_IN_TRANSACTION = 4.0


class Attempts:
    """Where an activity is in its attempts.

    ``durable`` attempts leave a row behind, so that another run goes on with their
    count, errors and schedule; those inside another unit of work vanish with it.
    """

    def __init__(self, run: Run, step_id: str, *, durable: bool) -> None:
        self._run = run
        self._step_id = step_id
        self.durable = durable
        self._began = 0.0
        self._troubles = 0
        self._paused = 0.0
        self.has_row = False
        self.metadata = RetryMetadata()
        self._counted_as_success = False
        self.details: JSONObject | None = None

    async def resume(self) -> None:
        """Go on where an earlier run was; waits for the rest of its back-off."""
        row = self._run.waits.left_open(self._step_id) if self.durable else None
        if row is None or row.kind is not WaitKind.RETRY:
            return
        self._load(row)
        if row.due is not None:
            await self._run.wait(NewWait(self._step_id, WaitKind.RETRY))

    def _load(self, row: OpenWait) -> None:
        fields = loads_object(row.data or "{}")
        self.has_row = True
        self.metadata = RetryMetadata.from_dict(fields["retry"])
        self.details = fields["details"]

    def row(self, *, seconds: float | None) -> NewWait:
        """The row that remembers the attempts; due for the next one in so many seconds."""
        self.has_row = True
        fields: JSONObject = {"retry": self.metadata.to_dict(), "details": self.details}
        return NewWait(self._step_id, WaitKind.RETRY, seconds=seconds, data=dumps(fields), replace=True)

    def begin(self) -> None:
        """An attempt begins."""
        self._began = monotonic()
        self._counted_as_success = False

    def succeeded(self) -> None:
        """The attempt succeeded; counted only if others failed before."""
        if self.metadata.total_attempts:
            self._add_time(monotonic() - self._began)
            self.metadata.total_attempts += 1
            self._counted_as_success = True

    def not_recorded(self) -> None:
        """The attempt succeeded in vain: the database did not take it."""
        if self._counted_as_success:
            self.metadata.total_attempts -= 1
            self._counted_as_success = False

    def failed(self, error: Exception, policy: RetryPolicy) -> RetryAfter | GiveUp:
        """The attempt failed; returns what the policy says to it."""
        self.not_recorded()
        self._add_time(monotonic() - self._began)
        self.metadata.add_attempt(self.metadata.total_attempts + 1, error)
        elapsed = self.metadata.total_duration_ms / 1000
        decision = decide(policy, self.metadata, error=error, elapsed=elapsed)
        unit = current_unit()
        if isinstance(decision, RetryAfter) and unit is not None and unit.began:
            return self._shorten(decision)
        return decision

    def _shorten(self, decision: RetryAfter) -> RetryAfter | GiveUp:
        """The transaction around this activity stays open meanwhile, with its locks."""
        delay = min(decision.delay, _LONGEST_PAUSE_IN_TRANSACTION)
        self._paused += delay
        if self._paused > _MOST_PAUSE_IN_TRANSACTION:
            return GiveUp(f"No more than {_MOST_PAUSE_IN_TRANSACTION:g}s of pauses in an open transaction")
        return RetryAfter(delay)

    def _add_time(self, seconds: float) -> None:
        self.metadata.total_duration_ms += round(seconds * 1000)

    async def back_off(self, delay: float) -> None:
        """Return when the next attempt is due; a long delay lets the workflow park."""
        await self._run.check()  # a run that was stopped makes no further attempt
        self._add_time(delay)
        wait = self.row(seconds=delay)
        if not self.durable:
            await self._run.pause(wait)
        elif delay >= PARK_FROM_SECONDS:
            await self._run.wait(wait)
        else:
            await self._run.hold(wait)

    async def wait_out_trouble(self, error: Exception) -> None:
        """The database was in trouble: make the attempt again after a pause, uncounted."""
        self.not_recorded()
        self._troubles += 1
        if self._troubles > _MOST_TROUBLES:
            self._run.stop(StorageError(f"The database was in trouble {self._troubles} times: {error}"))
        delay = min(0.05 * 2.0**self._troubles, _LONGEST_TROUBLE_PAUSE)
        await self._run.pause(NewWait(self._step_id, WaitKind.RETRY, seconds=delay))
