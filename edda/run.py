"""The state that all durable operations of one run share.

A run is one pass through a workflow function by one worker under one lease. Its
operations count themselves as in flight, so that the engine sees when nothing but
waits is left and the run can park.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from edda.clock import monotonic, now
from edda.codec.json import DEFAULT_MAX_BYTES, check_size, dumps
from edda.exceptions import LockLostError, StorageError, TransactionLostError, WorkflowSuspended
from edda.hooks import HookDispatcher
from edda.journal import Journal, Turnstile
from edda.retry import RetryPolicy
from edda.storage.protocol import StorageProtocol
from edda.storage.records import HistoryRecord, Lease, WaitRecord
from edda.storage.writes import AlreadyRecorded, NewWait, StepRecorded, Verdict, WaitsRegistered
from edda.types import EventType, JSONObject, WaitKind
from edda.unit_of_work import UnitOfWork, current_unit

logger = logging.getLogger(__name__)

# What carries an exception, whose parts are bounded already when it becomes JSON: the limit
# of a user must not make a failure unrecordable.
_ALWAYS_RECORDED = frozenset(
    {EventType.ACTIVITY_FAILED, EventType.TRANSACTION_ROLLED_BACK, EventType.CHILD_WORKFLOW_STARTED}
)


@dataclass(frozen=True, slots=True)
class Services:
    """What runs get from the worker that executes them."""

    storage: StorageProtocol
    worker_id: str
    hooks: HookDispatcher
    default_retry_policy: RetryPolicy
    threads: Executor
    max_payload_bytes: int = DEFAULT_MAX_BYTES
    strict_replay: bool = False


@dataclass(slots=True)
class PendingWait:
    """A wait the body has reached; ``due`` is a monotonic instant, None while it is not known.

    A ``held`` one keeps its own time, whatever row there is for the same step.
    """

    wait: NewWait
    registered: bool
    done: asyncio.Future[None]
    due: float | None = None
    held: bool = False


class Run:
    """One run: its lease, its journal, its open waits, and whether it has ended."""

    def __init__(
        self,
        lease: Lease,
        *,
        workflow_name: str,
        services: Services,
        history: Sequence[HistoryRecord] = (),
        waits: Sequence[WaitRecord] = (),
    ) -> None:
        self.workflow_name = workflow_name
        self.services = services
        self.journal = Journal(history)
        self.turnstile = Turnstile(record.activity_id for record in self.journal.own_steps())
        self.pending: dict[str, PendingWait] = {}
        self.abandoned_waits: list[str] = []
        self.in_flight = 0
        self.changed = asyncio.Event()
        self.stopped_by: Exception | None = None
        self.closed = False
        self.regain_lease: Callable[[], Awaitable[None]] | None = None
        self._open_waits = {wait.activity_id: wait for wait in waits}
        self._silenced: set[str] = set()
        self.take_lease(lease)

    @property
    def instance_id(self) -> str:
        """The instance that is being run."""
        return self.lease.instance_id

    def take_lease(self, lease: Lease) -> None:
        """Go on under this lease."""
        self.lease = lease
        self.leased = True
        self.trust_lease_from(monotonic())

    def trust_lease_from(self, asked_at: float) -> None:
        """Count the lease from before it was asked for, so that it never outlasts the database's."""
        self.lease_good_until = asked_at + self.lease.seconds

    def has_lease(self) -> bool:
        """Whether the run may write: it is not parked."""
        return self.leased

    def give_up_lease(self) -> None:
        """The run is parked: operations that come now have to regain the lease first."""
        self.leased = False

    @property
    def stopped(self) -> bool:
        """Whether the run ended before its body did."""
        return self.stopped_by is not None

    @property
    def ended(self) -> bool:
        """Whether every further durable operation is refused."""
        return self.closed or self.stopped_by is not None

    def stop(self, reason: Exception) -> None:
        """End the run for this reason; its instance goes on in another run."""
        if self.stopped_by is None:
            self.stopped_by = reason
        self._end_waits()

    def lose_lease(self) -> LockLostError:
        """End the run because its lease is no longer good, and say so once."""
        lost = LockLostError(self.instance_id)
        if self.stopped_by is None:
            logger.warning(
                "Lost the lease of %s; the instance continues elsewhere",
                self.instance_id,
                extra={"instance_id": self.instance_id},
            )
        self.stop(lost)
        return lost

    def close(self) -> None:
        """The body has ended: branches that outlive it may finish a step, but begin none."""
        self.closed = True
        self._end_waits()

    def _end_waits(self) -> None:
        for pending in self.pending.values():
            if not pending.done.done():
                pending.done.set_exception(self.signal())
        self.changed.set()

    def signal(self) -> WorkflowSuspended:
        """The signal that ends the body of this run."""
        reason = self.stopped_by or "its workflow function has ended"
        return WorkflowSuspended(f"the run of {self.instance_id} is over: {reason}")

    def check(self) -> None:
        """Raise the signal if the run has ended."""
        if self.ended:
            raise self.signal()

    @asynccontextmanager
    async def operation(self) -> AsyncIterator[None]:
        """Count a durable operation as in flight, under a lease that is held."""
        self.check()
        self.in_flight += 1
        try:
            if not self.leased and self.regain_lease is not None:
                await self.regain_lease()
                self.check()
            yield
        finally:
            self.in_flight -= 1
            if self.pending or self.ended:  # else nobody waits for it: the body just goes on
                self.changed.set()

    def step(
        self, step_id: str, event_type: EventType, event_data: JSONObject, *, ends_wait: bool = False
    ) -> StepRecorded:
        """The write that records a step; raises ``PayloadTooLargeError`` if it is over the limit."""
        text = dumps(event_data)
        if event_type not in _ALWAYS_RECORDED:
            check_size(text, f"step {step_id!r}", limit=self.services.max_payload_bytes)
        return StepRecorded(self.lease, step_id, event_type, text, ends_wait)

    async def record(self, step: StepRecorded) -> HistoryRecord | None:
        """Commit one step, or leave it to the unit of work around it.

        Returns the record that stands instead if there is one already. Raises the signal
        when the lease is lost or the database cannot be written, so that neither is ever
        mistaken for a failure of the step.
        """
        unit = current_unit()
        if unit is not None:
            unit.writes.append(step)
            return None
        with self._stopping_on_storage_errors():
            answer = await self.services.storage.submit(step, within=self.lease_left())
        if answer is Verdict.ACCEPTED and "/" in step.activity_id:
            # A step inside an activity: the next attempt in this very run asks for it again.
            self.journal.add(_as_record(step))
        return await self._judge(answer)

    async def record_with(self, unit: UnitOfWork, step: StepRecorded) -> HistoryRecord | None:
        """Commit one step together with all that its unit of work has collected; as :meth:`record`.

        Raises :class:`~edda.exceptions.TransactionLostError` when nothing was stored and
        the attempt is to be made again, and the database's error for rows of the user
        that it refuses.
        """
        if unit.parent is None and not unit.began and not unit.writes:
            return await self.record(step)
        if unit.parent is not None:
            unit.writes.append(step)
            await unit.merge()
            return None
        with self._stopping_on_storage_errors():
            answers = await unit.commit(step)
        if Verdict.LEASE_LOST in answers:
            return await self._judge(Verdict.LEASE_LOST)
        return await self._judge(answers[0])

    @contextmanager
    def _stopping_on_storage_errors(self) -> Iterator[None]:
        try:
            yield
        except TransactionLostError:
            raise
        except StorageError as error:
            self.stop(error)
            raise self.signal() from error

    async def _judge(self, answer: Verdict | AlreadyRecorded) -> HistoryRecord | None:
        if isinstance(answer, AlreadyRecorded):
            return answer.record
        if answer is Verdict.LEASE_LOST:
            self.lose_lease()
            raise self.signal()
        await self.turnstile.pass_live()
        return None

    def lease_left(self) -> float:
        """Seconds for which this worker may still trust its lease."""
        return max(0.0, self.lease_good_until - monotonic())

    def open_wait(self, step_id: str) -> WaitRecord | None:
        """The wait that an earlier run left open for this step."""
        return self._open_waits.get(step_id)

    def was_due(self, step_id: str) -> bool:
        """Whether an earlier run left a wait for this step that was over when this run began."""
        known = self._open_waits.get(step_id)
        return known is not None and known.remaining is not None and known.remaining <= 0

    async def wait(self, wait: NewWait) -> None:
        """Return when the wait is due; meanwhile the run may park.

        A wait that an earlier run registered keeps its due time.
        """
        self.check()
        known = self._open_waits.pop(wait.activity_id, None)
        pending = PendingWait(wait, known is not None, asyncio.get_running_loop().create_future())
        if known is not None:
            pending.due = due_instant(known)
        self.pending[wait.activity_id] = pending
        self.in_flight -= 1
        self.changed.set()
        try:
            await pending.done
        except asyncio.CancelledError:
            if pending.registered:
                self.abandoned_waits.append(wait.activity_id)
            raise
        finally:
            self.in_flight += 1
            del self.pending[wait.activity_id]

    async def hold(self, wait: NewWait) -> None:
        """Register the wait and return when it is due, under the lease: too short to park for."""
        with self._stopping_on_storage_errors():
            verdict = await self.services.storage.submit(
                WaitsRegistered(self.lease, (wait,)), within=self.lease_left()
            )
        if verdict is Verdict.LEASE_LOST:
            self.lose_lease()
        await self.pause(wait)

    async def pause(self, wait: NewWait) -> None:
        """Return when the wait is due, under the lease, without a trace in the database."""
        self.check()
        done = asyncio.get_running_loop().create_future()
        due = monotonic() + (wait.seconds or 0.0)
        self.pending[wait.activity_id] = PendingWait(wait, registered=True, done=done, due=due, held=True)
        self.changed.set()
        try:
            await done
        finally:
            del self.pending[wait.activity_id]

    def note_registered(self, waits: Sequence[WaitRecord]) -> None:
        """Learn from the database when the pending waits are due."""
        for record in waits:
            pending = self.pending.get(record.activity_id)
            if pending is None:
                self._open_waits[record.activity_id] = record
            elif not pending.held:
                pending.registered = True
                pending.due = due_instant(record)

    def note_all_registered(self) -> None:
        """The pending waits are in the database now; it says when they are due at the next wake-up."""
        for pending in self.pending.values():
            pending.registered = True

    def give_up_wait(self, step_id: str) -> None:
        """The step was cancelled: should it have left a wait behind, it must not wake the instance."""
        self._open_waits.pop(step_id, None)
        self.abandoned_waits.append(step_id)

    def silence_overdue(self) -> tuple[NewWait, ...]:
        """Waits whose time has come although nobody waits for them: they would wake a parked run for ever.

        Timers are given up, although this run still knows their time. The attempts of an
        activity have to stay: they are returned, to be registered without a time.
        """
        overdue = [
            record
            for record in self._open_waits.values()
            if record.remaining is not None and record.remaining <= 0
        ]
        timers = [record.activity_id for record in overdue if record.kind is not WaitKind.RETRY]
        self.abandoned_waits += [step_id for step_id in timers if step_id not in self._silenced]
        self._silenced.update(timers)
        return tuple(
            NewWait(record.activity_id, record.kind, data=record.data, replace=True)
            for record in overdue
            if record.kind is WaitKind.RETRY
        )

    def give_up_waits_under(self, prefix: str) -> None:
        """As :meth:`give_up_wait`, for what earlier runs left behind under this prefix."""
        for step_id in [step_id for step_id in self._open_waits if step_id.startswith(prefix)]:
            self.give_up_wait(step_id)

    def next_due(self) -> float | None:
        """The monotonic instant of the first pending wait that has one."""
        return min(
            (pending.due for pending in self.pending.values() if pending.due is not None), default=None
        )

    def fire_due_waits(self) -> None:
        """Let the operations go on whose wait is due."""
        now = monotonic()
        for pending in self.pending.values():
            if pending.due is not None and pending.due <= now and not pending.done.done():
                pending.done.set_result(None)

    @property
    def only_waits(self) -> bool:
        """Whether at least one wait is open, none of them due, and nothing else is in flight."""
        return (
            self.in_flight == 0
            and bool(self.pending)
            and not any(pending.done.done() for pending in self.pending.values())
        )

    def unregistered(self) -> tuple[NewWait, ...]:
        """The pending waits that are not in the database yet."""
        return tuple(pending.wait for pending in self.pending.values() if not pending.registered)

    def waits_only_for_timers(self) -> bool:
        """Whether every pending wait ends by itself at some time."""
        return all(pending.wait.kind in (WaitKind.TIMER, WaitKind.RETRY) for pending in self.pending.values())


def due_instant(record: WaitRecord) -> float | None:
    """The monotonic instant at which a wait is due, read off the database's clock."""
    return None if record.remaining is None else monotonic() + max(0.0, record.remaining)


def _as_record(step: StepRecorded) -> HistoryRecord:
    return HistoryRecord(0, step.lease.instance_id, step.activity_id, step.event_type, step.event_data, now())
