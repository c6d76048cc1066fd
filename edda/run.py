"""The state that all durable operations of one run share.

A run is one pass through a workflow function by one worker under one lease. Its
operations count themselves as in flight, so that the engine sees when nothing but
waits is left and the run can park.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from edda.body_tasks import BodyTasks
from edda.cancel_notice import CancelNotice
from edda.clock import monotonic
from edda.codec.json import DEFAULT_MAX_BYTES, check_size, dumps
from edda.commit_order import CommitOrder
from edda.exceptions import (
    LockLostError,
    NonDeterminismError,
    WorkflowSuspended,
)
from edda.hooks import HookDispatcher
from edda.journal import Journal
from edda.local_functions import hold_functions
from edda.refusal import Refusals
from edda.registrations import Change, Registrations
from edda.retry import RetryPolicy
from edda.storage.message_writes import MessageTaken, TakeAnswer
from edda.storage.protocol import StorageProtocol
from edda.storage.records import HistoryRecord, Lease, Subscription, WaitRecord, under_next_token
from edda.storage.writes import (
    AlreadyRecorded,
    NewWait,
    StepRecorded,
    Verdict,
    WaitsRegistered,
    Write,
    under_lease,
)
from edda.storage_trouble import StoppingOnStorageErrors
from edda.subscriptions import Subscriptions
from edda.turnstile import Turnstile
from edda.types import ALWAYS_RECORDED, EventType, JSONObject
from edda.unit_of_work import UnitOfWork, current_unit
from edda.waiting import PendingWait, Waits

A = TypeVar("A")

logger = logging.getLogger(__name__)


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


class Run:
    """One run: its lease, its journal, its open waits, and whether it has ended."""

    def __init__(
        self,
        lease: Lease,
        *,
        workflow_name: str,
        services: Services,
        chain_id: str | None = None,
        lock_timeout_seconds: float | None = None,
        history: Sequence[HistoryRecord] = (),
        waits: Sequence[WaitRecord] = (),
        subscriptions: Sequence[Subscription] | None = None,
    ) -> None:
        self.workflow_name = workflow_name
        self.lock_timeout_seconds = lock_timeout_seconds
        self.chain_id = chain_id or lease.instance_id  # one for a whole chain of recurs
        self.services = services
        self.subscriptions = Subscriptions(
            services.storage, instance_id=lease.instance_id, chain_id=self.chain_id, known=subscriptions
        )
        self.journal = Journal(history)
        self._order = CommitOrder()
        self.turnstile = Turnstile(self.journal.in_order_of_entry())
        self.waits = Waits(waits)
        self.registrations = Registrations(history)
        self.tasks = BodyTasks()
        self.in_flight = 0
        self.changed = asyncio.Event()
        self.stopped_by: Exception | None = None
        self.closed = False
        self.cancel_notice = CancelNotice(lease.instance_id)
        self.refusals = Refusals(lease.instance_id, when_ignored=self.changed.set)
        self.regain_lease: Callable[[], Awaitable[None]] | None = None
        self.take_lease(lease)

    @property
    def instance_id(self) -> str:
        """The instance that is being run."""
        return self.lease.instance_id

    def take_lease(self, lease: Lease) -> None:
        """Go on under this lease."""
        self.lease, self.leased, self.leased_at = lease, True, monotonic()
        self.trust_lease_from(self.leased_at)

    def trust_lease_from(self, asked_at: float) -> None:
        """Count the lease from before it was asked for, so that it never outlasts the database's."""
        self.lease_good_until = asked_at + self.lease.seconds

    def has_lease(self) -> bool:
        """Whether the run may write: it is not parked."""
        return self.leased

    def give_up_lease(self) -> None:
        """The run is parked: operations that come now have to regain the lease first."""
        self.leased = False

    def keep_lease(self) -> None:
        """The run was about to park, and goes on instead."""
        self.leased = True

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
        # It leads back to whoever drives the run: without it all of that goes when the run is over.
        self.regain_lease = None
        self.waits.end_all(self.signal())
        self.turnstile.let_go()
        self.changed.set()

    def signal(self) -> WorkflowSuspended:
        """The signal that ends the body of this run."""
        reason = self.stopped_by or "its workflow function has ended"
        return WorkflowSuspended(f"the run of {self.instance_id} is over: {reason}")

    async def check(self) -> None:
        """Raise the signal if the run has ended."""
        if self.ended:
            await self.refusals.pause()
            raise self.signal()

    @property
    def cancelled(self) -> bool:
        """Whether the instance is to end as cancelled, as far as the run knows."""
        return self.cancel_notice.given

    def note_cancelled(self) -> None:
        """The instance was cancelled: its lease goes on under the next token, its body is to end.

        The body learns of it at its next step. What it waits for is over; an activity in
        flight is finished and recorded, unless it has asked to be interrupted.
        """
        if self.cancelled:
            return
        self.lease = under_next_token(self.lease)
        self.cancel_notice.give()
        self.waits.end_unsheltered(self.cancel_notice.error())
        self.turnstile.let_go()
        self.changed.set()

    async def check_cancelled(self) -> None:
        """Raise that if the instance was cancelled."""
        if self.cancelled:
            await self.refusals.pause()
            raise self.cancel_notice.error()

    def obey(self, verdict: Verdict) -> None:
        """Draw the consequence of the answer to a write that is no step."""
        if verdict is Verdict.LEASE_LOST:
            self.lose_lease()
        elif verdict is Verdict.CANCEL_REQUESTED:
            self.note_cancelled()

    def step(
        self,
        step_id: str,
        event_type: EventType,
        event_data: JSONObject,
        *,
        ends_wait: bool = False,
        effects: tuple[Write[Any], ...] = (),
    ) -> StepRecorded:
        """The write that records a step; raises ``PayloadTooLargeError`` if it is over the limit."""
        text = dumps(self.journal.with_given_up(step_id, event_data))
        if event_type not in ALWAYS_RECORDED:
            check_size(text, f"step {step_id!r}", limit=self.services.max_payload_bytes)
        return StepRecorded(self.lease, step_id, event_type, text, ends_wait, effects)

    async def record(self, step: StepRecorded, changes: Sequence[Change] = ()) -> HistoryRecord | None:
        """Commit one step, or leave it to the unit of work around it.

        ``changes`` are the compensations that its row registers or clears. Returns the
        record that stands instead if there is one already. Raises the signal when the lease
        is lost or the database cannot be written, so that neither is ever mistaken for a
        failure of the step.
        """
        unit = current_unit()
        if unit is not None:
            if unit.is_replayed:
                self.stop(NonDeterminismError.in_ended_transaction(step.activity_id, self.instance_id))
                raise self.signal()
            # Side by side: a block that is rolled back keeps its steps, but not what they effect.
            unit.writes += [*step.effects, replace(step, effects=())]
            unit.changes.extend(changes)
            self.turnstile.keep_place(step.activity_id)
            return None
        if self.turnstile.has_unreached:  # looked at here first: every step comes by
            await self.turnstile.may_begin()
        await self._order.share()
        try:
            with self.registrations.in_doubt(changes), self.stopping_on_storage_errors():
                answer = await self.services.storage.submit(step, within=self.lease_left())
            if answer in (Verdict.ACCEPTED, Verdict.CANCEL_REQUESTED):
                self.journal.note_recorded(step)
            return self._judge(step, answer, changes)
        finally:
            self._order.leave()

    async def record_with(self, unit: UnitOfWork, step: StepRecorded) -> HistoryRecord | None:
        """Commit one step together with all that its unit of work has collected; as :meth:`record`.

        Raises :class:`~edda.exceptions.TransactionLostError` when nothing was stored and the attempt
        is to be made again, and the database's error for rows of the user that it refuses.
        """
        if unit.parent is not None:
            unit.writes.append(step)
            await unit.merge()
            self.turnstile.keep_place(step.activity_id)
            return None
        if unit.writes:
            # The token may have changed since they were collected.
            collected = (under_lease(write, step.lease) for write in unit.writes)
            step = replace(step, effects=(*step.effects, *collected))
        if not unit.began:
            return await self.record(step, unit.changes)
        if unit.commits_alone:
            return await self._commit(unit, step)
        async with self._order.alone():
            return await self._commit(unit, step)

    async def _commit(self, unit: UnitOfWork, step: StepRecorded) -> HistoryRecord | None:
        # The next commit may be answered before this one: they come from different threads.
        self.turnstile.keep_place(step.activity_id)
        try:
            with self.registrations.in_doubt(unit.changes), self.stopping_on_storage_errors():
                answer = await unit.commit(step)
        except BaseException:
            self.turnstile.give_place_back(step.activity_id)
            raise
        return self._judge(step, answer, unit.changes)

    async def submit(self, write: Write[A]) -> A:
        """Commit a write whose answer the operation judges; raises the signal as :meth:`record` does."""
        await self.turnstile.may_begin()
        await self._order.share()
        try:
            with self.stopping_on_storage_errors():
                answer = await self.services.storage.submit(write, within=self.lease_left())
        finally:
            self._order.leave()
        if isinstance(answer, Verdict):
            self.obey(answer)
        if answer is Verdict.LEASE_LOST:
            raise self.signal()
        if answer is Verdict.CANCEL_REQUESTED:
            raise self.cancel_notice.error()
        return answer

    def note_recorded(self, step: StepRecorded) -> None:
        """This step has just been recorded by a write that was given to :meth:`submit`."""
        self.waits.forget(step.activity_id)
        self.journal.note_recorded(step)
        self.turnstile.keep_place(step.activity_id)

    def stopping_on_storage_errors(self) -> StoppingOnStorageErrors:
        """Trouble of the database in this block ends the run."""
        return StoppingOnStorageErrors(self)

    def _judge(
        self, step: StepRecorded, answer: Verdict | AlreadyRecorded, changes: Sequence[Change]
    ) -> HistoryRecord | None:
        # Before anything else of this run is recorded, so that it enters behind this one.
        self.turnstile.keep_place(step.activity_id)
        if isinstance(answer, AlreadyRecorded):
            self.registrations.note_unknown()
            return answer.record
        self.obey(answer)
        if answer is Verdict.LEASE_LOST:
            raise self.signal()
        self.registrations.note(changes)
        hold_functions(self.instance_id, changes)
        return None

    def lease_left(self) -> float:
        """Seconds for which this worker may still trust its lease."""
        return max(0.0, self.lease_good_until - monotonic())

    async def wait(self, wait: NewWait) -> bool:
        """Return when the wait is due, or a message may be there; meanwhile the run may park.

        Says whether it is due. A wait that an earlier run registered keeps its due time.
        """
        return (await self._wait(wait, None)).done.result()

    async def wait_for_message(self, wait: NewWait, taking: MessageTaken) -> bool | TakeAnswer:
        """As :meth:`wait`; the answer to this write instead when it was made meanwhile, lease or not."""
        pending = await self._wait(wait, taking)
        return pending.done.result() if pending.answer is None else pending.answer

    async def _wait(self, wait: NewWait, taking: MessageTaken | None) -> PendingWait:
        await self.check()
        await self.check_cancelled()
        await self.turnstile.may_begin()
        pending = self.waits.begin(wait, taking)
        self.in_flight -= 1
        self.changed.set()
        try:
            await pending.done
            return pending
        except asyncio.CancelledError:
            if pending.registered:
                self.waits.abandoned[wait.activity_id] = wait.channel
            raise
        finally:
            self.in_flight += 1
            self.waits.end(pending)

    async def hold(self, wait: NewWait) -> None:
        """Register the wait and return when it is due, under the lease: too short to park for."""
        await self.check_cancelled()
        with self.stopping_on_storage_errors():
            write = WaitsRegistered(self.lease, (wait,))
            verdict = await self.services.storage.submit(write, within=self.lease_left())
        self.obey(verdict)
        await self.pause(wait)

    async def pause(self, wait: NewWait) -> None:
        """Return when the wait is due, under the lease, without a trace in the database."""
        await self.check()
        # Inside a running activity, which goes on to its end.
        sheltered = current_unit() is not None
        if not sheltered:
            await self.check_cancelled()
        pending = self.waits.hold(wait, sheltered=sheltered)
        self.changed.set()
        try:
            await pending.done
        finally:
            self.waits.end(pending)

    @property
    def only_waits(self) -> bool:
        """Whether at least one wait is open, none of them due, and nothing else is in flight."""
        return self.in_flight == 0 and self.waits.none_is_over and not self.turnstile.holds_any
