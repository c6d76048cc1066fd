"""What scenarios are made of: starting, telling and waiting, all harmless when repeated."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from sqlalchemy import select

from edda.app import EddaApp
from edda.cloudevent import Event
from edda.storage.models import workflow_instances
from edda.testing.mortal_worker import Play
from edda.types import TERMINAL_STATUSES, Status
from edda.workflow import Workflow
from tests.support.apps import engine_of, instance
from tests.support.crashing import Scenario
from tests.support.eventually import eventually
from tests.support.final_state import State
from tests.support.rows import storage_of

PATIENCE = 30
SCENARIOS: list[Scenario] = []


def scenario(forget: Callable[[State], None] = lambda _: None, **options: Any) -> Callable[[Play], Play]:
    """Have this function played with a crash at every write; ``options`` are those of its app."""

    def register(play: Play) -> Play:
        SCENARIOS.append(Scenario(play.__name__, play, options, forget))
        return play

    return register


async def begin(flow: Workflow[Any, Any], app: EddaApp, number: int = 1, **arguments: Any) -> str:
    """Start an instance under an id of its own, unless it is there; how it ends is not told here."""
    instance_id = f"{flow.name}-{number}"
    with contextlib.suppress(Exception):
        await engine_of(app).start(flow, arguments, None, instance_id=instance_id)
    return instance_id


async def post(app: EddaApp, event_type: str, **data: Any) -> None:
    """An event that is the same each time."""
    await app.handle_cloudevent(Event({"type": event_type, "id": "1", "source": "/test"}, data))


async def ended(app: EddaApp, *instance_ids: str) -> None:
    """Wait until these instances have ended, whichever way."""
    for instance_id in instance_ids:
        await reached(app, instance_id, lambda row: Status(row["status"]).is_terminal)


async def all_ended(app: EddaApp) -> None:
    """Wait until every instance there is has ended."""
    live = select(workflow_instances.c.instance_id).where(
        workflow_instances.c.status.not_in(TERMINAL_STATUSES)
    )

    async def check() -> None:
        async with storage_of(app).engine.connect() as connection:
            assert list(await connection.scalars(live)) == []

    await eventually(check, within=PATIENCE)


async def waits_at(app: EddaApp, instance_id: str, step: str) -> None:
    """Wait until the instance waits at this step, or has gone past it."""

    def is_there(row: Any) -> bool:
        return row["current_activity_id"] == step or Status(row["status"]).is_terminal

    await reached(app, instance_id, is_there)


async def reached(app: EddaApp, instance_id: str, is_there: Callable[[Any], bool]) -> None:
    async def check() -> None:
        row = await instance(app, instance_id)
        assert is_there(row), row

    await eventually(check, within=PATIENCE)
