from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import kept
from benchmarks.cells import Cell, Contender, Database
from benchmarks.measurement import Failure, Measurement
from benchmarks.messages import MESSAGES
from benchmarks.plan import Plan
from benchmarks.report import Quiet, Report, Surroundings
from benchmarks.steps import CROWD, STEPS

FIGURES = Measurement(4, 4, 40.0, 1.0, 2.0, 1.0, 0.5, 10.0, 0, None)
REPORT = Report(
    Plan(STEPS, databases=[Database.SQLITE], only=[CROWD.name], runs=1),
    {
        Cell(Database.SQLITE, CROWD, Contender.OURS): [FIGURES],
        Cell(Database.SQLITE, CROWD, Contender.FLOOR): [FIGURES],
        Cell(Database.SQLITE, CROWD, Contender.DBOS): [Failure("not installed: no index")],
    },
    Surroundings(
        {Database.SQLITE: {"file_system": "tmpfs"}}, {Contender.FLOOR: {"sqlalchemy": "2.1"}}, Quiet(0.1)
    ),
)


def test_the_text_holds_table_marks_gaps_and_surroundings() -> None:
    text = REPORT.text()
    assert "[met] sqlite, 100 clients, against floor: 100% (asked 40%)" in text
    assert "dbos on sqlite, 100 clients: not installed: no index" in text
    assert "floor: sqlalchemy 2.1" in text
    assert "load average when the program began: 0.10" in text
    assert "WARNING sqlite: the file lies in memory" in text


def test_the_figures_are_written_and_can_be_read_back(tmp_path: Path) -> None:
    complete = replace(REPORT, plan=Plan(STEPS))
    assert complete.write(tmp_path / "new") == tmp_path / "new" / "steps.json"
    read = kept.read(STEPS, tmp_path / "new")
    assert read is not None
    assert read.results == REPORT.results
    assert "floor: sqlalchemy 2.1" in read.about
    assert kept.read(MESSAGES, tmp_path / "new") is None


def test_a_load_that_is_measured_no_more_is_left_out(tmp_path: Path) -> None:
    path = replace(REPORT, plan=Plan(STEPS)).write(tmp_path)
    path.write_text(path.read_text().replace(CROWD.name, "a thousand clients"))
    read = kept.read(STEPS, tmp_path)
    assert read is not None
    assert read.results == {}


@pytest.mark.parametrize(
    ("quiet", "accept_busy", "name"),
    [
        (Quiet(0.1), False, "steps.json"),
        (Quiet(240.0), False, "latest.steps.json"),
        (Quiet(0.1, 40.0), False, "latest.steps.json"),
        (Quiet(240.0), True, "steps.json"),
    ],
)
def test_a_complete_run_is_kept_if_the_machine_is_quiet_or_that_does_not_matter(
    tmp_path: Path, quiet: Quiet, accept_busy: bool, name: str
) -> None:
    surroundings = replace(REPORT.surroundings, quiet=quiet)
    complete = Report(Plan(STEPS), REPORT.results, surroundings, accept_busy)
    assert complete.write(tmp_path).name == name
    assert ("the machine was busy" in complete.text()) == quiet.broken


def test_an_incomplete_run_is_never_kept(tmp_path: Path) -> None:
    assert replace(REPORT, accept_busy=True).write(tmp_path).name == "latest.steps.json"


def test_it_is_said_how_many_rounds_the_peers_were_in() -> None:
    assert "3 round(s), the peers in the first 2 of them" in replace(REPORT, plan=Plan(STEPS)).text()
    assert "1 round(s), contenders" in REPORT.text()
