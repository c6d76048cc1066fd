"""The whole program on the smallest load."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.__main__ import WORKLOADS, bench, main, parse_options, plan_of
from benchmarks.cells import Cell, Contender, Database, Load
from benchmarks.events import BACKLOG, DELAY, EVENTS, STARTED, STORED
from benchmarks.measurement import Measurement
from benchmarks.messages import BROADCAST, MESSAGES, POST, PUBLISH, STREAM
from benchmarks.parked import PARKED
from benchmarks.plan import Plan
from benchmarks.replay import REPLAY, REPLAYS
from benchmarks.report import Quiet
from benchmarks.startup import LOADS, STARTUP
from benchmarks.steps import ALONE, CROWD, SHORT, STEPS
from tests.support.reaper import Reaper


def test_without_options_everything_is_measured_three_times() -> None:
    options = parse_options([])
    plan = plan_of(STEPS, options)
    assert options.workload == []
    assert (list(plan.databases), list(plan.contenders), plan.runs) == ([*Database], [*Contender], 3)


def test_options_narrow_the_plan() -> None:
    options = ["messages", "--only", "mysql", "--contender", "floor", "--load", "POST", "--quick"]
    options += ["--size", "9"]
    plan = plan_of(MESSAGES, parse_options(options))
    assert (plan.databases, plan.contenders) == ([Database.MYSQL], [Contender.FLOOR])
    assert (plan.runs, plan.size, plan.loads) == (1, 9, [POST])


@pytest.mark.parametrize("options", [["mails"], ["--load", "mails"]])
def test_what_nobody_measures_is_refused(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_options(options)
    assert "mails" in capsys.readouterr().err


def test_a_number_below_one_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_options(["--runs", "0"])
    assert "0 is not at least 1" in capsys.readouterr().err


@pytest.mark.parametrize("contender", [Contender.OURS, Contender.FLOOR])
async def test_every_step_of_every_workflow_runs(
    contender: Contender, reaper: Reaper, tmp_path: Path
) -> None:
    plan = Plan(STEPS, [Database.SQLITE], [contender], runs=1, size=3)
    report = await bench(plan, reaper, tmp_path, Quiet(0.1), install=False)
    for load in (CROWD, ALONE, SHORT):
        (result,) = report.results[Cell(Database.SQLITE, load, contender)]
        assert isinstance(result, Measurement), result
        assert (result.completed, result.errors) == (3, 0), result.first_error
        assert result.speed > 0


@pytest.mark.parametrize("contender", [Contender.OURS, Contender.FLOOR])
async def test_everything_that_waits_is_woken(contender: Contender, reaper: Reaper, tmp_path: Path) -> None:
    loads = [load for load in (PUBLISH, POST, BROADCAST, STREAM) if contender in MESSAGES.sizes[load]]
    plan = Plan(MESSAGES, [Database.SQLITE], [contender], [load.name for load in loads], runs=1, size=3)
    report = await bench(plan, reaper, tmp_path, Quiet(0.1), install=False)
    for load in loads:
        (result,) = report.results[Cell(Database.SQLITE, load, contender)]
        assert isinstance(result, Measurement), result
        assert (result.completed, result.errors) == (3, 0), result.first_error


@pytest.mark.parametrize(
    ("contender", "loads"), [(Contender.OURS, (STARTED, BACKLOG)), (Contender.FLOOR, (STORED, DELAY))]
)
async def test_every_event_comes_in_and_goes_out(
    contender: Contender, loads: tuple[Load, ...], reaper: Reaper, tmp_path: Path
) -> None:
    names = [load.name for load in loads]
    plan = Plan(EVENTS, [Database.SQLITE], [contender], names, runs=1, size=3)
    report = await bench(plan, reaper, tmp_path, Quiet(0.1), install=False)
    for load in loads:
        (result,) = report.results[Cell(Database.SQLITE, load, contender)]
        assert isinstance(result, Measurement), result
        assert (result.completed, result.errors) == (3, 0), result.first_error


@pytest.mark.parametrize("contender", [Contender.OURS, Contender.FLOOR])
async def test_a_history_is_replayed_to_the_same_sum(
    contender: Contender, reaper: Reaper, tmp_path: Path
) -> None:
    plan = Plan(REPLAYS, [Database.SQLITE], [contender], runs=1, size=12)
    report = await bench(plan, reaper, tmp_path, Quiet(0.1), install=False)
    [result] = report.results[Cell(Database.SQLITE, REPLAY, contender)]
    assert isinstance(result, Measurement), result
    assert (result.completed, result.errors) == (12, 0), result.first_error
    assert result.figures["us/step"] > 0


async def test_a_start_is_measured_without_that_of_the_interpreter(reaper: Reaper, tmp_path: Path) -> None:
    plan = Plan(STARTUP, [Database.SQLITE], [Contender.OURS], runs=1, size=1)
    report = await bench(plan, reaper, tmp_path, Quiet(0.1), install=False)
    for load in LOADS:
        [result] = report.results[Cell(Database.SQLITE, load, Contender.OURS)]
        assert isinstance(result, Measurement), result
        assert 0 < result.p50_ms < 1000 * result.wall_seconds


async def test_of_those_that_are_parked_some_are_woken(reaper: Reaper, tmp_path: Path) -> None:
    load = Load("3 parked", ("2", "0.01"))
    workload = replace(PARKED, sizes={load: {Contender.OURS: 3}}, left_out=())
    report = await bench(
        Plan(workload, [Database.SQLITE], runs=1), reaper, tmp_path, Quiet(0.1), install=False
    )
    [result] = report.results[Cell(Database.SQLITE, load, Contender.OURS)]
    assert isinstance(result, Measurement), result
    assert (result.size, result.completed, result.errors) == (3, 2, 0), result.first_error
    assert set(result.figures) == {"MB", "queries/min", "woken in s"}


@pytest.mark.parametrize("contender", [Contender.OURS, Contender.FLOOR])
async def test_several_processes_share_the_workflows(
    contender: Contender, reaper: Reaper, tmp_path: Path
) -> None:
    load = Load("2 processes, 3 finished", ("1", "2", "2"), finished=3)
    workload = replace(STEPS, sizes={load: {contender: 5}})
    report = await bench(
        Plan(workload, [Database.SQLITE], [contender], runs=1), reaper, tmp_path, Quiet(0.1), install=False
    )
    [result] = report.results[Cell(Database.SQLITE, load, contender)]
    assert isinstance(result, Measurement), result
    assert (result.completed, result.errors) == (5, 0), result.first_error


def test_the_program_prints_one_table_and_writes_it_down(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["steps", "--only", "sqlite", "--contender", "floor", "--runs", "1", "--size", "2"]
    main([*options, "--results", str(tmp_path), "--directory", str(tmp_path)])
    printed = capsys.readouterr()
    assert printed.out.count("steps/s") == 1
    assert "[1/3] run 1: sqlite, 100 clients, floor (2 workflows)" in printed.err.replace("[ 1", "[1")
    assert {path.name for path in tmp_path.iterdir()} == {"latest.steps.json"}
    assert len(json.loads((tmp_path / "latest.steps.json").read_text())["measurements"]) == 3


def test_the_page_can_be_composed_without_a_measurement(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--page", "--results", str(tmp_path), "--docs", str(tmp_path)])
    assert capsys.readouterr().out == f"written: {tmp_path / 'benchmarks.md'}\n"
    page = (tmp_path / "benchmarks.md").read_text()
    assert page.count("There is no complete run of this workload yet.") == len(WORKLOADS)
