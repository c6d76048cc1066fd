"""Starting a workflow in the body of another one: a recorded step of the parent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import cast

from edda.codec.errors import dump_error, load_error
from edda.codec.json import loads_object
from edda.execution import Failed, Outcome, Stopped, name_instance
from edda.ids import derived_instance_id
from edda.run import Run
from edda.storage.protocol import StorageProtocol
from edda.storage.records import HistoryRecord
from edda.storage.writes import DefinitionRegistered, NewInstance, Parked
from edda.types import EventType, JSONObject, Status
from edda.unit_of_work import UnitOfWork

StartChild = Callable[[str], Awaitable["Outcome | Parked | None"]]


class ChildStart:
    """The operation behind ``await child.start(...)`` in a body.

    The id of the child follows from the parent and the step, so that a parent that died
    before it had recorded the step finds the child it started. ``start`` gets that id
    and returns None if the child is there already; ``go_on`` has a child that is there
    come as far as that run would have, and returns None if another run did.
    """

    def __init__(
        self,
        step_id: str,
        workflow_name: str,
        *,
        storage: StorageProtocol,
        start: StartChild,
        go_on: StartChild,
    ) -> None:
        self._step_id = step_id
        self._workflow_name = workflow_name
        self._storage = storage
        self._start = start
        self._go_on = go_on

    def describe(self) -> str:
        """The start by the name of the child."""
        return f"the start of workflow {self._workflow_name!r}"

    def matches(self, record: HistoryRecord) -> bool:
        """Whether the row is the start of a workflow of this name."""
        if record.event_type is not EventType.CHILD_WORKFLOW_STARTED:
            return False
        return loads_object(record.event_data).get("workflow_name") == self._workflow_name

    async def restore(self, run: Run, record: HistoryRecord) -> str:  # noqa: ARG002 - of every operation
        """Return the id of the child, or raise what it failed with."""
        fields = loads_object(record.event_data)
        if "exception" in fields:
            raise load_error(fields["exception"])
        return cast("str", fields["instance_id"])

    async def perform(self, run: Run) -> str:
        """Start the child and record how far it came."""
        await run.turnstile.may_begin()
        child_id = derived_instance_id(self._workflow_name, run.instance_id, self._step_id)
        outcome = await self._start(child_id) or await self._go_on(child_id)
        if isinstance(outcome, Stopped):
            await run.check()  # this worker stops: the next one asks again
        exception = await self._failure(child_id) if outcome is None else _failure_of(outcome)
        fields: JSONObject = {"workflow_name": self._workflow_name, "instance_id": child_id}
        if exception is not None:
            fields["exception"] = exception
        stands = await run.record(run.step(self._step_id, EventType.CHILD_WORKFLOW_STARTED, fields))
        if stands is not None:
            return await self.restore(run, stands)
        if exception is not None:
            raise load_error(exception)
        return child_id

    async def _failure(self, child_id: str) -> JSONObject | None:
        """What a child that was there already failed with, if it did."""
        child = await self._storage.load_instance(child_id)
        if child is None or child.status is not Status.FAILED:
            return None
        history = await self._storage.load_history(child_id)
        failed = next((row for row in history if row.event_type is EventType.WORKFLOW_FAILED), None)
        if failed is None:
            return None
        error = load_error(loads_object(failed.event_data)["exception"])
        name_instance(error, child_id)
        return dump_error(error)


def start_with_commit(unit: UnitOfWork, definition: DefinitionRegistered, new: NewInstance) -> None:
    """Have the instance created by the commit of the unit; whoever has room runs it after that."""
    unit.writes += [definition, new]


def _failure_of(outcome: Outcome | Parked) -> JSONObject | None:
    return dump_error(outcome.error) if isinstance(outcome, Failed) else None
