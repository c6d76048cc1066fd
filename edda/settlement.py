"""The end of a run: each outcome is settled in one write, then told to the hooks."""

from __future__ import annotations

import contextlib
import logging

from edda.codec.errors import dump_error, error_fields
from edda.codec.json import check_size, dumps
from edda.exceptions import LockLostError, ShuttingDownError, StorageError
from edda.execution import Completed, Execution, Failed, Outcome, Parked, Stopped
from edda.hooks import HookDispatcher
from edda.storage.protocol import StorageProtocol
from edda.storage.records import Lease
from edda.storage.writes import Parked as ParkedUntil
from edda.storage.writes import RunFinished, RunParked, RunReleased, Verdict, WaitsEnded
from edda.types import EventType, JSONObject, Status

logger = logging.getLogger(__name__)

_LONGEST_SET_ASIDE = 60.0


class Settlement:
    """Writes down how runs ended."""

    def __init__(self, storage: StorageProtocol, hooks: HookDispatcher) -> None:
        self._storage = storage
        self._hooks = hooks

    async def settle(self, execution: Execution, outcome: Outcome, *, attempts: int) -> Outcome | ParkedUntil:
        """Write the outcome; the answer is what it became (a lost lease stops any outcome)."""
        try:
            match outcome:
                case Completed():
                    return await self._complete(execution, outcome)
                case Failed():
                    return await self._fail(execution, outcome)
                case Parked():
                    return await self._park(execution, outcome)
                case Stopped():
                    return await self._release(execution, outcome, attempts)
        except StorageError as error:
            logger.error(  # noqa: TRY400 - the traceback of the driver says nothing about the instance
                "The outcome of %s could not be stored (%s); it is run again when its lease expires",
                execution.run.instance_id,
                error,
                extra={"instance_id": execution.run.instance_id},
            )
            return outcome if isinstance(outcome, Stopped) else Stopped(error)

    async def _complete(self, execution: Execution, outcome: Completed) -> Outcome:
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
            RunFinished(run.lease, Status.COMPLETED, text), within=run.lease_left()
        )
        if verdict is Verdict.LEASE_LOST:
            return Stopped(run.lose_lease())
        await self._hooks.call("on_workflow_complete", run.instance_id, workflow.name, outcome.result)
        return outcome

    async def _fail(self, execution: Execution, outcome: Failed) -> Outcome:
        run, error = execution.run, outcome.error
        fields = error_fields(error)
        row = {**fields, "exception": dump_error(error)}
        verdict = await self._storage.submit(
            RunFinished(
                run.lease,
                Status.FAILED,
                dumps(fields),
                activity_id="workflow_failed",
                event_type=EventType.WORKFLOW_FAILED,
                event_data=dumps(row),
            ),
            within=run.lease_left(),
        )
        if verdict is Verdict.LEASE_LOST:
            return Stopped(run.lose_lease())
        _name_instance(error, run.instance_id)
        await self._hooks.call("on_workflow_failed", run.instance_id, run.workflow_name, error)
        return outcome

    async def _park(self, execution: Execution, outcome: Parked) -> Outcome | ParkedUntil:
        run = execution.run
        run.give_up_lease()
        waits = (*outcome.waits, *run.silence_overdue())
        write = RunParked(run.lease, outcome.status, outcome.current_activity_id, waits)
        run.note_all_registered()
        if run.abandoned_waits:  # else they would make it due again and again
            ended = WaitsEnded(run.lease, tuple(run.abandoned_waits))
            run.abandoned_waits.clear()
            await self._storage.submit(ended, within=run.lease_left())
        answer = await self._storage.submit(write, within=run.lease_left())
        if isinstance(answer, Verdict):
            return Stopped(run.lose_lease())
        return answer

    async def _release(self, execution: Execution, outcome: Stopped, attempts: int) -> Outcome:
        run, reason = execution.run, outcome.reason
        if isinstance(reason, LockLostError):
            return outcome
        if isinstance(reason, ShuttingDownError):
            reason.instance_id = run.instance_id
            await self._storage.submit(RunReleased(run.lease), within=run.lease_left())
            return outcome
        await self.set_aside(run.lease, reason, attempts=attempts, within=run.lease_left())
        return outcome

    async def set_aside(
        self, lease: Lease, reason: Exception, *, attempts: int, within: float | None = None
    ) -> None:
        """Hand a lease back for another try, after a delay that grows with the runs that died."""
        delay = min(2.0**attempts, _LONGEST_SET_ASIDE)
        said = f"{type(reason).__name__}: {reason}"
        logger.error(
            "Instance %s is set aside for %.0f s: %s",
            lease.instance_id,
            delay,
            said,
            extra={"instance_id": lease.instance_id, "attempts": attempts + 1},
        )
        await self._storage.submit(RunReleased(lease, delay, said), within=within)


def _name_instance(error: BaseException, instance_id: str) -> None:
    with contextlib.suppress(AttributeError):  # an exception class that takes none, as a frozen dataclass
        error.instance_id = instance_id  # type: ignore[attr-defined]
    with contextlib.suppress(AttributeError):
        error.add_note(f"Edda workflow instance: {instance_id}")
