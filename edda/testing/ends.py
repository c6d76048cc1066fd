"""How all has ended, in a form in which two ends can be compared."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, update

from edda import clock
from edda.app import EddaApp
from edda.storage import models
from edda.testing.inspecting import Inspector

_MOMENTARY_IN_JSON = {"stack_trace", "retry_metadata", "traceback"}
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?([+-]\d\d:\d\d|Z)?")
_KEY = re.compile(r"[0-9a-f]{64}|[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MANY = 1000


async def end_of(app: EddaApp) -> dict[str, Any]:
    """Each instance with output and steps, and the events of the outbox, without times and random keys."""
    inspector = Inspector(app)
    instances = [
        {
            "workflow": each["workflow_name"],
            "status": each["status"],
            "input": each["input_data"],
            "output": each["output_data"],
            "steps": sorted(
                (row["activity_id"], row["event_type"])
                for row in await inspector.history(each["instance_id"])
            ),
        }
        for each in await inspector.instances()
    ]
    events = [
        {"type": each["event_type"], "source": each["event_source"], "data": each["event_data"]}
        for each in await app.storage.get_pending_outbox_events(limit=_MANY)
    ]
    named: dict[str, Any] = Namer().name(
        {"instances": sorted(instances, key=repr), "outbox": sorted(events, key=repr)}
    )
    return named


class Namer:
    """Gives what is random a name: the same each time, by the order of appearance."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def name(self, value: Any) -> Any:
        """The value with names in place of what is random."""
        match value:
            case dict():
                kept = {key: each for key, each in value.items() if key not in _MOMENTARY_IN_JSON}
                return {self.name(key): self.name(each) for key, each in kept.items()}
            case list():
                return [self.name(each) for each in value]
            case str():
                return _KEY.sub(lambda found: self._name_of(found[0]), _TIME.sub("<time>", value))
        return value

    def _name_of(self, key: str) -> str:
        return self._names.setdefault(key, f"<{len(self._names) + 1}>")


def expire_leases(connection: Connection) -> None:
    """Let the leases of all workers have run out."""
    past = clock.now() - timedelta(seconds=1)
    instances, keys = models.workflow_instances, models.workflow_outbox_keys
    connection.execute(update(instances).where(instances.c.lease_owner.is_not(None)).values(due_at=past))
    connection.execute(update(keys).where(keys.c.lease_token.is_not(None)).values(due_at=past))
