from __future__ import annotations

import sqlite3
import sys
from pathlib import Path

from benchmarks.cells import Cell, Contender, Database, Load
from benchmarks.databases import Databases
from benchmarks.filling import Filled
from benchmarks.measurement import Failure
from benchmarks.steps import STEPS
from tests.support.reaper import Reaper

SCRIPT = STEPS.scripts[Contender.OURS]


def cell_of(finished: int) -> Cell:
    return Cell(Database.SQLITE, Load("some finished", ("1", "100"), finished), Contender.OURS)


def open_file(url: str) -> sqlite3.Connection:
    return sqlite3.connect(url.removeprefix("sqlite:///"))


async def test_each_round_gets_the_same_finished_instances(reaper: Reaper, tmp_path: Path) -> None:
    databases = Databases(reaper, tmp_path)
    filled = Filled(databases)
    found = []
    for _ in range(2):
        async with filled.database(cell_of(4), SCRIPT, Path(sys.executable)) as url:
            assert isinstance(url, str), url
            with open_file(url) as file:
                found.append(file.execute("SELECT instance_id, status FROM workflow_instances").fetchall())
                steps = file.execute("SELECT instance_id FROM workflow_history").fetchall()
                assert sorted(steps) == sorted((name,) for name, _ in found[-1])
                file.execute("DELETE FROM workflow_instances")  # a round changes its copy only
            file.close()
    await databases.close()
    assert found[0] == found[1]
    assert len(found[0]) == 4
    assert {status for _, status in found[0]} == {"completed"}


async def test_a_load_without_any_gets_an_empty_database(reaper: Reaper, tmp_path: Path) -> None:
    filled = Filled(Databases(reaper, tmp_path))
    async with filled.database(cell_of(0), SCRIPT, Path(sys.executable)) as url:
        assert isinstance(url, str)
        with open_file(url) as file:
            assert file.execute("SELECT * FROM sqlite_master").fetchall() == []
        file.close()


async def test_a_database_that_cannot_be_filled_has_a_reason_and_is_not_tried_again(
    reaper: Reaper, tmp_path: Path
) -> None:
    databases = Databases(reaper, tmp_path)
    filled = Filled(databases)
    reasons = []
    for script in ("missing.py", SCRIPT):
        async with filled.database(cell_of(4), script, Path(sys.executable)) as url:
            reasons.append(url)
    await databases.close()
    assert isinstance(reasons[0], Failure)
    assert "missing.py" in reasons[0].reason
    assert reasons[1] == reasons[0]
