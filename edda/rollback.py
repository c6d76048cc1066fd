"""The rollback of an instance whose body is over: its compensations, then the end that was fixed before."""

from __future__ import annotations

from collections.abc import Sequence

from edda.codec.errors import load_error
from edda.codec.json import loads_object
from edda.compensation_step import compensate, failure_in
from edda.context import WorkflowContext
from edda.exceptions import NonDeterminismError
from edda.execution import Ending
from edda.registrations import Registrations, is_inside_compensation
from edda.run import Run, Services
from edda.storage.records import HistoryRecord, Lease, WaitRecord
from edda.types import EventType, JSONObject, Status
from edda.workflow import Workflow


def ending_in(
    instance_id: str, history: Sequence[HistoryRecord], error: BaseException | None = None
) -> Ending:
    """The end that the history fixes; ``error`` is the one of the body, if it is still at hand.

    Raises :class:`~edda.exceptions.NonDeterminismError` for a history without an end.
    """
    failures = tuple(failure for record in history if (failure := failure_in(record)) is not None)
    for record in history:
        fields = loads_object(record.event_data) if record.event_type in _ENDS else {}
        match record.event_type:
            case EventType.WORKFLOW_CANCELLED:
                return Ending(Status.CANCELLED, fields, failures=failures)
            case EventType.WORKFLOW_FAILED:
                stored = fields.pop("exception")
                return Ending(Status.FAILED, fields, error or load_error(stored), failures)
    raise NonDeterminismError(
        f"The history of {instance_id} does not say how the instance is to end: a row of it was removed. "
        "The instance is set aside, not failed; restore the row to have it compensated."
    )


_ENDS = (EventType.WORKFLOW_CANCELLED, EventType.WORKFLOW_FAILED)


class Rollback:
    """What is registered and has no outcome yet, to be executed the last one first.

    It is the body of a run of its own, so that a compensation can be retried, wait and be
    taken over like any step.
    """

    def __init__(
        self,
        ending: Ending,
        history: Sequence[HistoryRecord],
        waits: Sequence[WaitRecord] = (),
    ) -> None:
        self.ending = ending
        self._pending = Registrations(history).newest_first
        self._waits = [wait for wait in waits if is_inside_compensation(wait.activity_id)]
        inside = tuple(f"{registered.step_id}/" for registered in self._pending)
        self._history = [record for record in history if record.activity_id.startswith(inside)]

    def __bool__(self) -> bool:
        """Whether there is anything to execute."""
        return bool(self._pending)

    def run(self, lease: Lease, *, workflow_name: str, services: Services, chain_id: str | None) -> Run:
        """The run in which it is executed; what the body recorded and waited for is none of it."""
        return Run(
            lease,
            workflow_name=workflow_name,
            services=services,
            chain_id=chain_id,
            history=self._history,
            waits=self._waits,
        )

    @property
    def body(self) -> Workflow[[], list[JSONObject]]:
        """The function to be run; it returns the failures."""

        async def roll_back(ctx: WorkflowContext) -> list[JSONObject]:
            failures = [await compensate(ctx, registered) for registered in self._pending]
            return [failure for failure in failures if failure is not None]

        return Workflow(roll_back)
