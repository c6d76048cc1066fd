"""Processes die before and after each write of a rollback and of a cancellation; others finish it rightly."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from edda import clock
from edda.app import EddaApp
from edda.storage import models
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from tests.support import dying_sagas
from tests.support.apps import instance
from tests.support.dying_sagas import PLACES, WRITES, instance_of
from tests.support.eventually import eventually
from tests.support.sagas import outcomes
from tests.support.workers import Workers


@pytest.mark.parametrize("name", list(WRITES))
async def test_whoever_takes_over_executes_what_is_missing_and_ends_as_was_fixed(
    name: str, database_url: str, workers: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One process for each write and moment, all of them killed; one more finishes all their instances."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("EFFECTS", str(tmp_path / "effects"))
    async with _storage(database_url):
        pass  # the schema is there before the many ask for it
    parent = await workers.start("tests.support.dying_sagas:die", name, env=dict(os.environ))
    assert await parent.wait() == 0, parent.output
    assert parent.lines == ["all dead"]
    async with _storage(database_url) as storage, storage.engine.begin() as connection:
        table = models.workflow_instances
        leased = table.c.lease_owner.is_not(None)
        await connection.execute(table.update().where(leased).values(due_at=clock.now()))

    async with dying_sagas.make_app() as app:
        for number in range(1, WRITES[name] + 1):
            for when in ("before", "after"):
                instance_id = instance_of(name, number, when)
                if name == "waits" and (number, when) == (1, "before"):  # it died with the request
                    assert (await instance(app, instance_id))["status"] == "waiting_for_timer"
                    continue
                # What was not recorded when its process died is not known to have happened.
                known = 2 if name == "runs" and (number, when) == (1, "before") else 3
                await _check(app, instance_id, "failed" if name == "fails" else "cancelled", known)
    _check_effects(tmp_path / "effects")


@asynccontextmanager
async def _storage(url: str) -> AsyncIterator[SQLAlchemyStorage]:
    storage = SQLAlchemyStorage(url)
    await storage.open(migrate=True)
    try:
        yield storage
    finally:
        await storage.close()


async def _check(app: EddaApp, instance_id: str, status: str, known: int) -> None:
    async def ended() -> Any:
        row = await instance(app, instance_id)
        assert row["status"] == status, row
        return row

    row = await eventually(ended)
    recorded = [(step_id, kind) for step_id, kind, _ in await outcomes(app, instance_id)]
    expected = [(f"compensation_{number}", "CompensationExecuted") for number in range(known, 0, -1)]
    assert recorded == expected, instance_id
    told = row["output_data"]
    assert told["error_message"] == "no card" if status == "failed" else told["cancelled_by"] == "user"
    assert "compensation_errors" not in told
    assert (row["locked_by"], await app.storage.load_waits(instance_id)) == (None, [])


def _check_effects(file: Path) -> None:
    """The body ran once; each effect was undone after it, at most one of them twice: its record was lost."""
    effects: dict[str, list[str]] = defaultdict(list)
    for line in file.read_text().splitlines():
        instance_id, _, what = line.partition(" ")
        effects[instance_id].append(what)
    for instance_id, seen in effects.items():
        undone = [what for what in seen if what.startswith("undo ")]
        assert [what for what in seen if what not in undone][:2] == ["body", "flight"], instance_id
        # Only a failure that is not stored yet has the body run once more, to fail again.
        again = instance_id == instance_of("fails", 1, "before")
        assert seen.count("body") == 1 + again, (instance_id, seen)
        if undone:
            places = reversed(PLACES[:2] if instance_id == instance_of("runs", 1, "before") else PLACES)
            assert list(dict.fromkeys(undone)) == [f"undo {place}" for place in places], instance_id
            assert sum(Counter(undone).values()) <= len(set(undone)) + 1, (instance_id, undone)
