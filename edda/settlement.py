"""The end of a run: each outcome is settled in one write, then told to the hooks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from edda.clock import monotonic
from edda.codec.errors import dump_error, error_fields
from edda.codec.json import check_size, dumps, loads
from edda.creation import Creation
from edda.exceptions import EddaError, LockLostError, ShuttingDownError, StorageError, StorageUnavailableError
from edda.execution import (
    Cancelled,
    Completed,
    Ending,
    Execution,
    Failed,
    Outcome,
    Parked,
    Recurred,
    Stopped,
    name_instance,
)
from edda.hooks import HookDispatcher
from edda.local_functions import forget_functions
from edda.run import Run
from edda.storage.protocol import StorageProtocol
from edda.storage.records import Lease, under_next_token
from edda.storage.writes import (
    NewInstance,
    RollbackBegun,
    RunFinished,
    RunParked,
    RunRecurred,
    RunReleased,
    Verdict,
    WaitsEnded,
)
from edda.storage.writes import Parked as ParkedUntil
from edda.types import EventType, JSONObject, Status

logger = logging.getLogger(__name__)

_LONGEST_SET_ASIDE = 60.0


@dataclass(frozen=True, slots=True)
class RollbackDue:
    """The body is over, what it registered is to be compensated; ``error``: what it raised, if it failed."""

    error: BaseException | None = None


@dataclass(frozen=True, slots=True)
class Successor:
    """The instance that continues one that recurred, leased to this worker since ``asked_at``."""

    new: NewInstance
    arguments: dict[str, Any]
    asked_at: float


@dataclass(frozen=True, slots=True)
class GoesOn:
    """A message was there when the run was about to park: it keeps its lease, and has the message."""


Ended = Outcome | ParkedUntil | RollbackDue | Successor
Settled = Ended | GoesOn


class Settlement:
    """Writes down how runs ended; ``wake_in`` is told when one that is set aside is due again."""

    def __init__(
        self,
        storage: StorageProtocol,
        hooks: HookDispatcher,
        creation: Creation,
        wake_in: Callable[[float], None],
    ) -> None:
        self._storage = storage
        self._hooks = hooks
        self._creation = creation
        self._wake_in = wake_in

    async def settle(self, execution: Execution, outcome: Outcome, *, attempts: int) -> Settled:
        """Write the outcome; the answer is what it became (a lost lease stops any outcome)."""
        try:
            if execution.ending is not None:
                return await self._settle_rollback(execution, execution.ending, outcome, attempts)
            return await self._settle(execution, outcome, attempts)
        except StorageError as error:
            logger.error(  # noqa: TRY400 - the traceback of the driver says nothing about the instance
                "The outcome of %s could not be stored (%s); it is run again when its lease expires",
                execution.run.instance_id,
                error,
                extra={"instance_id": execution.run.instance_id},
            )
            return outcome if isinstance(outcome, Stopped) else Stopped(error)

    async def _settle(self, execution: Execution, outcome: Outcome, attempts: int) -> Settled:
        match outcome:
            case Completed():
                return await self._complete(execution, outcome)
            case Failed():
                return await self._fail(execution, outcome)
            case Cancelled():
                return RollbackDue()
            case Recurred():
                return await self._recur(execution, outcome)
            case Parked():
                return await self._park(execution, outcome)
            case Stopped():
                return await self._release(execution, outcome, attempts)

    async def _complete(self, execution: Execution, outcome: Completed) -> Settled:
        run, workflow = execution.run, execution.workflow
        try:
            result = workflow.codec.result.dump(outcome.result, "result")
            output: JSONObject = {"result": result.json}
            if result.types:
                output["types"] = result.types
            text = dumps(output)
            check_size(text, f"the result of {workflow.name!r}", limit=run.services.max_payload_bytes)
        except (TypeError, ValueError) as error:
            error.add_note(f"Workflow {workflow.name!r} returned a value that cannot be stored")
            return await self._fail(execution, Failed(error))
        verdict = await self._storage.submit(
            RunFinished(run.lease, Status.COMPLETED, text, subscriber=run.subscriptions.ending),
            within=run.lease_left(),
        )
        if verdict is not Verdict.ACCEPTED:
            return _refused(run, verdict)
        forget_functions(run.instance_id)
        await self._hooks.call("on_workflow_complete", run.instance_id, workflow.name, outcome.result)
        return outcome

    async def _fail(self, execution: Execution, outcome: Failed) -> Settled:
        run, error = execution.run, outcome.error
        fields = error_fields(error)
        output = dumps(fields)
        row = {**fields, "exception": dump_error(error)}
        last = ("workflow_failed", EventType.WORKFLOW_FAILED, dumps(row))
        due = bool(run.registrations)
        write = (
            RollbackBegun(run.lease, output, *last, subscriber=run.subscriptions.ending)
            if due
            else RunFinished(run.lease, Status.FAILED, output, *last, subscriber=run.subscriptions.ending)
        )
        verdict = await self._storage.submit(write, within=run.lease_left())
        if verdict is not Verdict.ACCEPTED:
            return _refused(run, verdict)
        return RollbackDue(error) if due else await self._tell_failed(run, error)

    async def _tell_failed(self, run: Run, error: BaseException, *, announced: bool = False) -> Failed:
        name_instance(error, run.instance_id)
        if not announced:
            await self._hooks.call("on_workflow_failed", run.instance_id, run.workflow_name, error)
        return Failed(error)

    async def begin_rollback(self, run: Run, ending: Ending) -> Verdict:
        """Fix the end of an instance whose last row is written already."""
        write = RollbackBegun(run.lease, dumps(ending.output), subscriber=run.subscriptions.subscriber)
        return await self._storage.submit(write, within=run.lease_left())

    async def _settle_rollback(
        self, execution: Execution, ending: Ending, outcome: Outcome, attempts: int
    ) -> Settled:
        match outcome:
            case Completed(failures):
                return await self.end(execution.run, ending, failures)
            case Failed(error):  # not of a compensation, which is recorded: the rollback itself failed
                reason = (
                    error if isinstance(error, Exception) else EddaError(f"Rolling back ended with {error!r}")
                )
                return await self._release(execution, Stopped(reason), attempts)
            case Recurred():  # raised by hand in a compensation, where ctx.recur refuses
                return await self._release(execution, Stopped(EddaError("A rollback cannot recur")), attempts)
            case _:
                return await self._settle(execution, outcome, attempts)

    async def end(self, run: Run, ending: Ending, failures: Sequence[JSONObject]) -> Outcome:
        """End an instance that is rolled back."""
        output = dumps(ending.output_with(failures))
        verdict = await self._storage.submit(
            RunFinished(run.lease, ending.status, output, subscriber=run.subscriptions.subscriber),
            within=run.lease_left(),
        )
        if verdict is Verdict.LEASE_LOST:
            return Stopped(run.lose_lease())
        if not (failures or ending.failures):  # else they may be executed again
            forget_functions(run.instance_id)
        if ending.error is not None:
            return await self._tell_failed(run, ending.error, announced=ending.announced)
        if not ending.announced:
            await self._hooks.call("on_workflow_cancelled", run.instance_id, run.workflow_name)
        return Cancelled()

    async def _recur(self, execution: Execution, outcome: Recurred) -> Settled:
        run, workflow = execution.run, execution.workflow
        try:
            new, arguments = self._creation.prepare_successor(run, workflow, outcome.kwargs)
        except (TypeError, ValueError) as error:
            return await self._fail(execution, Failed(error))
        await self._creation.register_definition(workflow)
        asked_at = monotonic()
        output = dumps({"recur_kwargs": loads(new.input_data)})
        verdict = await self._storage.submit(RunRecurred(run.lease, output, new), within=run.lease_left())
        if verdict is not Verdict.ACCEPTED:
            return _refused(run, verdict)
        forget_functions(run.instance_id)
        return Successor(new, arguments, asked_at)

    async def _park(self, execution: Execution, outcome: Parked) -> Settled:
        run = execution.run
        run.give_up_lease()
        waits = (*outcome.waits, *run.waits.silence_overdue())
        taking = execution.only_message()
        message = None if taking is None else replace(taking, lease=run.lease)
        write = RunParked(run.lease, outcome.status, outcome.current_activity_id, waits, message)
        run.waits.note_all_registered()
        if run.waits.abandoned:  # else they would make it due again and again
            channels = {channel for channel in run.waits.abandoned.values() if channel is not None}
            ended = WaitsEnded(run.lease, tuple(run.waits.abandoned), tuple(sorted(channels)))
            run.waits.abandoned.clear()
            verdict = await self._storage.submit(ended, within=run.lease_left())
            if verdict is not Verdict.ACCEPTED:
                return _refused(run, verdict)
        answer = await self._storage.submit(write, within=run.lease_left())
        if isinstance(answer, Verdict):
            return _refused(run, answer)
        if not isinstance(answer, ParkedUntil):
            run.subscriptions.drained.clear()  # whoever published it may be about to publish the next
            run.keep_lease()
            run.waits.hand_over(outcome.current_activity_id, answer)
            return GoesOn()
        run.waits.note_parked(answer.due_in)
        if answer.due_in == 0:  # a message may be there, and more behind it
            run.subscriptions.drained.clear()
        return answer

    async def _release(self, execution: Execution, outcome: Stopped, attempts: int) -> Outcome:
        run, reason = execution.run, outcome.reason
        if isinstance(reason, LockLostError):
            return outcome
        if isinstance(reason, ShuttingDownError):
            reason.instance_id = run.instance_id
            await self._hand_back(RunReleased(run.lease), within=run.lease_left())
            return outcome
        # What ends a run after a whole lease is rather not of its own making, and an outage never is.
        lasted = monotonic() - run.leased_at >= run.lease.seconds
        away = isinstance(reason, StorageUnavailableError)
        await self.set_aside(
            run.lease,
            reason,
            attempts=0 if lasted or away else attempts,
            within=run.lease_left(),
            subscriber=run.subscriptions.subscriber,
            blameless=away,
        )
        return outcome

    async def set_aside(
        self,
        lease: Lease,
        reason: Exception,
        *,
        attempts: int,
        within: float | None = None,
        subscriber: str | None = None,
        blameless: bool = False,
    ) -> None:
        """Hand a lease back for another try, after a delay that grows with the runs that died.

        A run that is ``blameless``, since the database was away, is not counted as one of them.
        """
        delay = min(2.0**attempts, _LONGEST_SET_ASIDE)
        said = f"{type(reason).__name__}: {reason}"
        logger.error(
            "Instance %s is set aside for %.0f s: %s",
            lease.instance_id,
            delay,
            said,
            extra={"instance_id": lease.instance_id, "attempts": 0 if blameless else attempts + 1},
        )
        released = RunReleased(lease, delay, said, subscriber, blameless)
        await self._hand_back(released, within=within)
        self._wake_in(delay)

    async def _hand_back(self, write: RunReleased, *, within: float | None) -> None:
        verdict = await self._storage.submit(write, within=within)
        if verdict is Verdict.CANCEL_REQUESTED:  # whoever takes it over ends it: at once
            await self._storage.submit(RunReleased(under_next_token(write.lease)), within=within)


def _refused(run: Run, verdict: Verdict) -> Stopped | RollbackDue:
    """What becomes of an outcome that was not written: another run has it, or a cancellation came first."""
    if verdict is Verdict.LEASE_LOST:
        return Stopped(run.lose_lease())
    run.note_cancelled()
    return RollbackDue()
