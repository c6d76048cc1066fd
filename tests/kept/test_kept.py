"""Databases and histories of each release go on with the present code, which executes nothing again."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from edda import publish
from edda.app import EddaApp
from edda.cloudevent import Event
from edda.execution import Completed, Execution, Failed, Outcome, Parked, Recurred
from edda.run import Run
from edda.storage.records import HistoryRecord, Lease
from edda.types import EventType
from edda.workflow import _registry
from tests.kept import workflows
from tests.kept.workflows import calls
from tests.support.apps import Apps, engine_of, instance, result_of, steps_of
from tests.support.playing import all_ended

VERSIONS = sorted(path.parent for path in Path(__file__).parent.glob("*/database.sql"))
each_version = pytest.mark.parametrize("version", VERSIONS, ids=lambda path: path.name)
on_sqlite = pytest.mark.parametrize("empty_database_url", ["sqlite"], indirect=True)

# What is no step of the body.
OF_THE_END = {
    EventType.WORKFLOW_FAILED,
    EventType.WORKFLOW_CANCELLED,
    EventType.COMPENSATION_EXECUTED,
    EventType.COMPENSATION_FAILED,
}
# What the body comes to that is run against the history of an instance which has ended so.
OUTCOMES: dict[str, type[Outcome]] = {
    "completed": Completed,
    "failed": Failed,
    "recurred": Recurred,
    "cancelled": Parked,
}
LIVE = {"compensating", "running", "waiting_for_message", "waiting_for_timer"}
# All that is executed once they go on.
AFTERWARDS = [
    ("kept_attempts", "after"),
    ("kept_compensating", "table"),
    ("kept_compensating", "undo chair"),
    ("kept_event", "after"),
    ("kept_loop", "after"),
    ("kept_message", "after"),
    ("kept_running", "after"),
    ("kept_running", "in flight"),
    ("kept_timer", "after"),
]


@pytest.fixture(autouse=True)
def _known() -> Iterator[None]:
    """The workflows of the histories, under their names, and nothing called yet."""
    for name in dir(workflows):
        if name.startswith("kept_"):
            _registry[name] = getattr(workflows, name)
    calls.clear()
    yield
    calls.clear()


def _histories(version: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((version / "histories.json").read_text())
    return found


def test_the_newest_histories_have_every_kind_of_step() -> None:
    kinds = {step["event_type"] for kept in _histories(VERSIONS[-1]) for step in kept["history"]}
    assert kinds == set(EventType)


@each_version
def test_what_is_kept_is_in_every_state(version: Path) -> None:
    assert {kept["status"] for kept in _histories(version)} == OUTCOMES.keys() | LIVE


async def _replay(app: EddaApp, kept: dict[str, Any]) -> Outcome:
    """Run the body against its history, under a lease that nobody has granted: nothing can be stored."""
    engine = engine_of(app)
    flow = engine.find(kept["workflow_name"])
    assert flow is not None
    steps = [
        HistoryRecord(
            number,
            kept["instance_id"],
            step["activity_id"],
            EventType(step["event_type"]),
            json.dumps(step["event_data"]),
            datetime(2025, 1, 1, tzinfo=UTC),
        )
        for number, step in enumerate(kept["history"])
        if step["event_type"] not in OF_THE_END
    ]
    run = Run(
        Lease(kept["instance_id"], "nobody", 1, 600),
        workflow_name=flow.name,
        services=engine._services,
        history=steps,
        waits=(),
        subscriptions=(),
    )
    arguments = flow.codec.load_kwargs_text(kept["input_data"], kept["input_types"])
    execution: Execution = engine.execute(run, flow, arguments)
    outcome = await execution.until_settled()
    engine.dismiss(execution)
    return outcome


@on_sqlite
@each_version
async def test_a_kept_history_is_replayed_without_executing_anything(app: EddaApp, version: Path) -> None:
    """T26, T34"""
    replayed = 0
    for kept in _histories(version):
        if kept["status"] in LIVE:
            continue
        outcome = await _replay(app, kept)
        assert type(outcome) is OUTCOMES[kept["status"]], (kept["instance_id"], outcome)
        if isinstance(outcome, Completed):
            assert _as_stored(kept, outcome) == json.loads(kept["output_data"])["result"]
        if isinstance(outcome, Failed):
            assert str(outcome.error) == json.loads(kept["output_data"])["error_message"]
        replayed += 1
    assert replayed >= 7
    assert calls == []


def _as_stored(kept: dict[str, Any], outcome: Completed) -> Any:
    flow = _registry[kept["workflow_name"]]
    return flow.codec.result.dump(outcome.result, "the result").json


@on_sqlite
@each_version
async def test_a_kept_database_goes_on_where_it_was(
    apps: Apps, version: Path, empty_database_url: str
) -> None:
    connection = sqlite3.connect(empty_database_url.removeprefix("sqlite:///"))
    connection.executescript((version / "database.sql").read_text())
    connection.close()
    app = await apps.start("kept")
    await publish(app.storage, "kept.message", 1)
    await app.handle_cloudevent(Event({"type": "kept.event", "id": "1", "source": "/test"}, {"a": 2}))
    await all_ended(app)

    assert sorted((instance_id.partition("-")[0], name) for instance_id, name in calls) == AFTERWARDS
    assert await result_of(app, "kept_message") == [1, "after"]
    assert await result_of(app, "kept_event") == [{"a": 2}, "after"]
    assert (await instance(app, "kept_compensating"))["status"] == "failed"
    for kept in _histories(version):
        if kept["status"] != "recurred":
            steps = [step["activity_id"] for step in kept["history"]]
            assert [step for step, _ in await steps_of(app, kept["instance_id"])][: len(steps)] == steps
