from __future__ import annotations

import pytest

from benchmarks.measurement import Failure, Measurement
from benchmarks.plan import ALONE, CROWD, Cell, Contender, Database
from benchmarks.summary import MARKS, Line, Mark, judge, summarise

OURS = Cell(Database.SQLITE, CROWD, Contender.OURS)
FLOOR = Cell(Database.SQLITE, CROWD, Contender.FLOOR)
DBOS = Cell(Database.SQLITE, CROWD, Contender.DBOS)


def measured(speed: float, *, errors: int = 0, p99_ms: float = 2.0) -> Measurement:
    return Measurement(
        workflows=10,
        completed=10,
        steps_per_second=speed,
        p50_ms=1.0,
        p99_ms=p99_ms,
        wall_seconds=100 / speed,
        cpu_seconds=0.01,
        errors=errors,
        first_error="Boom" if errors else None,
    )


def line_of(lines: list[Line | tuple[Cell, Failure]], cell: Cell) -> Line:
    return next(line for line in lines if isinstance(line, Line) and line.cell == cell)


def test_a_line_shows_medians_and_the_spread() -> None:
    runs = [measured(90.0, p99_ms=9.0), measured(100.0, p99_ms=2.0), measured(400.0, p99_ms=3.0)]
    line = line_of(summarise({OURS: runs}), OURS)
    assert (line.steps_per_second, line.slowest, line.fastest) == (100.0, 90.0, 400.0)
    assert (line.p99_ms, line.runs) == (3.0, 3)
    assert line.cpu_us_per_step == pytest.approx(100.0)


def test_a_ratio_is_taken_within_a_round_and_not_between_medians() -> None:
    ours = [measured(100.0), measured(200.0), measured(900.0)]
    floor = [measured(200.0), measured(1000.0), measured(1000.0)]
    line = line_of(summarise({OURS: ours, FLOOR: floor}), OURS)
    assert line.ratios == {Contender.FLOOR: 0.5}


def test_a_round_in_which_one_side_failed_has_no_ratio() -> None:
    ours: list[Measurement | Failure] = [measured(100.0), Failure("killed"), measured(300.0)]
    floor: list[Measurement | Failure] = [Failure("killed"), measured(100.0), measured(1000.0)]
    line = line_of(summarise({OURS: ours, FLOOR: floor}), OURS)
    assert line.ratios == {Contender.FLOOR: 0.3}
    assert (line.runs, line.errors, line.first_error) == (2, 1, "killed")


def test_nobody_is_compared_with_itself() -> None:
    line = line_of(summarise({FLOOR: [measured(1.0)], DBOS: [measured(2.0)]}), FLOOR)
    assert set(line.ratios) == {Contender.DBOS}


def test_errors_of_all_runs_are_added_up_and_the_first_is_kept() -> None:
    line = line_of(summarise({OURS: [measured(1.0, errors=2), measured(1.0), measured(1.0, errors=1)]}), OURS)
    assert (line.errors, line.first_error) == (3, "Boom")


def test_a_contender_without_any_figure_keeps_its_reason() -> None:
    assert summarise({DBOS: [Failure("not installed: no index")]}) == [
        (DBOS, Failure("not installed: no index"))
    ]


def test_a_run_without_a_completed_workflow_divides_by_nothing() -> None:
    nothing = Measurement(10, 0, 0.0, 0.0, 0.0, 1.0, 0.5, 10, "Boom")
    line = line_of(summarise({OURS: [nothing], FLOOR: [nothing]}), OURS)
    assert (line.cpu_us_per_step, line.ratios) == (0.0, {})


def test_a_mark_is_met_from_its_least_ratio_on() -> None:
    marks = [Mark(Database.SQLITE, CROWD, Contender.FLOOR, least) for least in (0.5, 0.51)]
    lines = summarise({OURS: [measured(50.0)], FLOOR: [measured(100.0)]})
    assert [(judged.ratio, judged.met) for judged in judge(lines, marks)] == [(0.5, True), (0.5, False)]


def test_a_mark_reached_with_errors_is_not_met() -> None:
    marks = [Mark(Database.SQLITE, CROWD, Contender.FLOOR, 0.5)]
    lines = summarise({OURS: [measured(90.0, errors=1)], FLOOR: [measured(100.0, errors=1)]})
    (judged,) = judge(lines, marks)
    assert (judged.ratio, judged.errors, judged.met) == (0.9, 1, False)


def test_a_mark_without_figures_is_not_met_and_one_not_planned_is_not_mentioned() -> None:
    marks = [
        Mark(Database.SQLITE, CROWD, Contender.DBOS, 1.0),
        Mark(Database.SQLITE, ALONE, Contender.DBOS, 1.0),
    ]
    judged = judge(summarise({OURS: [measured(50.0)], DBOS: [Failure("not installed")]}), marks)
    assert [(judgement.mark, judgement.ratio, judgement.met) for judgement in judged] == [
        (marks[0], None, False)
    ]


def test_marks_are_about_other_contenders_only() -> None:
    assert all(mark.against is not Contender.OURS and mark.least > 0 for mark in MARKS)
