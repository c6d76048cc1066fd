"""The whole program on the smallest load."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.__main__ import bench, main, parse_options, plan_of
from benchmarks.measurement import Measurement
from benchmarks.plan import ALONE, CROWD, Cell, Contender, Database, Plan
from tests.support.reaper import Reaper


def test_without_options_everything_is_measured_three_times() -> None:
    plan = plan_of(parse_options([]))
    assert (list(plan.databases), list(plan.contenders), plan.runs) == ([*Database], [*Contender], 3)


def test_options_narrow_the_plan() -> None:
    plan = plan_of(parse_options(["--quick", "--only", "mysql", "--contender", "floor", "--workflows", "9"]))
    assert (plan.databases, plan.contenders) == ([Database.MYSQL], [Contender.FLOOR])
    assert (plan.runs, plan.workflows) == (1, 9)


def test_a_number_below_one_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_options(["--runs", "0"])
    assert "0 is not at least 1" in capsys.readouterr().err


@pytest.mark.parametrize("contender", [Contender.OURS, Contender.FLOOR])
async def test_every_step_of_every_workflow_runs(
    contender: Contender, reaper: Reaper, tmp_path: Path
) -> None:
    plan = Plan([Database.SQLITE], [contender], loads=[CROWD, ALONE], runs=1, workflows=3)
    report = await bench(plan, reaper, tmp_path, install=False)
    for load in (CROWD, ALONE):
        (result,) = report.results[Cell(Database.SQLITE, load, contender)]
        assert isinstance(result, Measurement), result
        assert (result.completed, result.errors) == (3, 0), result.first_error
        assert result.steps_per_second > 0


def test_the_program_prints_one_table_and_writes_it_down(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--only", "sqlite", "--contender", "floor", "--runs", "1", "--workflows", "2"]
    main([*options, "--results", str(tmp_path), "--directory", str(tmp_path)])
    printed = capsys.readouterr()
    assert printed.out.count("steps/s") == 1
    assert "[1/2] run 1: sqlite, 100 at a time, floor (2 workflows)" in printed.err.replace("[ 1", "[1")
    assert {path.name for path in tmp_path.iterdir()} == {"latest.json", "latest.md"}
    assert len(json.loads((tmp_path / "latest.json").read_text())["measurements"]) == 2
