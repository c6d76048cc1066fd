"""What a body uses instead of clock, chance and plain logging: the same in every replay."""

from __future__ import annotations

import logging
import random
import uuid
from collections.abc import Coroutine, MutableMapping
from datetime import datetime
from typing import Any

from edda.branches import ids_here
from edda.clock import now
from edda.codec.json import loads_object
from edda.ids import derived_key, derived_uuid
from edda.journal import Journal
from edda.run import Run
from edda.scope import activity_scope
from edda.steps import call_step, perform
from edda.storage.records import HistoryRecord
from edda.types import EventType, JSONObject


class _TimeStep:
    """The operation behind ``ctx.now()``."""

    def __init__(self, step_id: str) -> None:
        self._step_id = step_id

    def describe(self) -> str:
        return f"reading the time {self._step_id!r}"

    def matches(self, record: HistoryRecord) -> bool:
        return record.event_type is EventType.TIME_READ

    async def restore(self, run: Run, record: HistoryRecord) -> datetime:  # noqa: ARG002 - of every operation
        fields = loads_object(record.event_data)
        return datetime.fromisoformat(fields["time"])

    async def perform(self, run: Run) -> datetime:
        time = now()
        read: JSONObject = {"time": time.isoformat()}
        stands = await run.record(run.step(self._step_id, EventType.TIME_READ, read))
        return time if stands is None else await self.restore(run, stands)


def read_time(run: Run) -> Coroutine[Any, Any, datetime]:
    """The time, recorded in the body; an activity may simply look at the clock."""
    if activity_scope(run) is not None:
        return _look_at_clock()
    call = call_step(run, "now")
    return perform(run, call, _TimeStep(call.step_id))


async def _look_at_clock() -> datetime:
    return now()


def derive_uuid(run: Run) -> uuid.UUID:
    """A UUID of version 4 that follows from the instance and the place of the call."""
    return derived_uuid(run.instance_id, ids_here(run).draw("uuid4"))


def derive_random(run: Run) -> random.Random:
    """A generator whose seed follows from the instance and the place of the call."""
    key = derived_key(run.instance_id, ids_here(run).draw("random"))
    return random.Random(int(key, 16))  # noqa: S311 - for dice, not for secrets: it has to be repeatable


class WorkflowLogger(logging.LoggerAdapter[logging.Logger]):
    """Logs with the instance as ``extra``, and only what happens for the first time."""

    def __init__(self, workflow_name: str, instance_id: str, journal: Journal) -> None:
        extra = {"instance_id": instance_id, "workflow_name": workflow_name}
        super().__init__(logging.getLogger(f"edda.workflow.{workflow_name}"), extra)
        self._journal = journal

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - the name in the standard library
        """Whether a message of this level goes anywhere: not during a replay."""
        return not self._journal.replaying and super().isEnabledFor(level)

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Add the instance to the ``extra`` of the call."""
        kwargs["extra"] = {**(kwargs.get("extra") or {}), **(self.extra or {})}
        return msg, kwargs
