from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.measurement import Failure, Measurement
from benchmarks.plan import CROWD, Cell, Contender, Database, Plan
from benchmarks.report import Report, Surroundings

FIGURES = Measurement(4, 4, 40.0, 1.0, 2.0, 1.0, 0.5, 0, None)
REPORT = Report(
    Plan(databases=[Database.SQLITE], loads=[CROWD], runs=1),
    {
        Cell(Database.SQLITE, CROWD, Contender.OURS): [FIGURES],
        Cell(Database.SQLITE, CROWD, Contender.FLOOR): [FIGURES],
        Cell(Database.SQLITE, CROWD, Contender.DBOS): [Failure("not installed: no index")],
    },
    Surroundings(
        {Database.SQLITE: {"file_system": "tmpfs"}}, {Contender.FLOOR: {"sqlalchemy": "2.1"}}, load=0.1
    ),
)


def test_the_text_holds_table_marks_gaps_and_surroundings() -> None:
    text = REPORT.text()
    assert "[met] sqlite, 100 at a time, against floor: 100% (asked 40%)" in text
    assert "dbos on sqlite with 100 clients: not installed: no index" in text
    assert "floor: sqlalchemy 2.1" in text
    assert "WARNING sqlite: the file lies in memory" in text


def test_both_files_are_written_and_the_figures_can_be_read_back(tmp_path: Path) -> None:
    figures, page = REPORT.write(tmp_path / "new")
    data = json.loads(figures.read_text())
    assert [entry["contender"] for entry in data["measurements"]] == ["edda", "floor", "dbos"]
    assert data["measurements"][0]["steps_per_second"] == 40.0
    assert data["measurements"][2]["reason"] == "not installed: no index"
    assert page.name == "latest.md"
    assert page.read_text() == REPORT.markdown()


@pytest.mark.parametrize(("load", "page"), [(0.1, "steps.md"), (2.4, "latest.md")])
def test_only_a_complete_run_on_a_quiet_machine_is_published(tmp_path: Path, load: float, page: str) -> None:
    surroundings = replace(REPORT.surroundings, load=load)
    complete = Report(Plan(), REPORT.results, surroundings)
    assert [path.name for path in complete.write(tmp_path)] == ["latest.json", page]
    assert ("the machine was busy (load 2.4)" in complete.text()) == (load > 1)
