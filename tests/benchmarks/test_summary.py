from __future__ import annotations

from dataclasses import replace

from benchmarks.cells import Cell, Contender, Database
from benchmarks.marks import Beside, Figure, Limit, Ratio
from benchmarks.measurement import Failure, Measurement
from benchmarks.messages import PUBLISH
from benchmarks.steps import ALONE, CROWD
from benchmarks.summary import Line, judge, summarise

OURS = Cell(Database.SQLITE, CROWD, Contender.OURS)
FLOOR = Cell(Database.SQLITE, CROWD, Contender.FLOOR)
DBOS = Cell(Database.SQLITE, CROWD, Contender.DBOS)


def measured(speed: float, *, errors: int = 0, p99_ms: float = 2.0) -> Measurement:
    return Measurement(
        size=10,
        completed=10,
        per_second=speed,
        p50_ms=1.0,
        p99_ms=p99_ms,
        wall_seconds=100 / speed,
        cpu_seconds=0.01,
        cpu_us_each=100.0,
        errors=errors,
        first_error="Boom" if errors else None,
    )


def waited(p50_ms: float) -> Measurement:
    return replace(measured(1.0), per_second=None, p50_ms=p50_ms)


def line_of(lines: list[Line | tuple[Cell, Failure]], cell: Cell) -> Line:
    return next(line for line in lines if isinstance(line, Line) and line.cell == cell)


def test_a_line_shows_medians_and_the_spread() -> None:
    runs = [measured(90.0, p99_ms=9.0), measured(100.0, p99_ms=2.0), measured(400.0, p99_ms=3.0)]
    line = line_of(summarise({OURS: runs}), OURS)
    assert (line.per_second, line.slowest, line.fastest) == (100.0, 90.0, 400.0)
    assert (line.p99_ms, line.runs) == (3.0, 3)
    assert line.cpu_us_each == 100.0


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


def test_without_a_rate_the_ratio_is_that_of_the_latencies_and_the_slowest_comes_first() -> None:
    ours, floor = (
        Cell(Database.SQLITE, PUBLISH, Contender.OURS),
        Cell(Database.SQLITE, PUBLISH, Contender.FLOOR),
    )
    runs = {ours: [waited(4.0), waited(2.0), waited(8.0)], floor: [waited(1.0), waited(1.0), waited(4.0)]}
    line = line_of(summarise(runs), ours)
    assert (line.per_second, line.p50_ms, line.slowest, line.fastest) == (None, 4.0, 8.0, 2.0)
    assert line.ratios == {Contender.FLOOR: 0.5}


def test_a_further_figure_is_the_median_of_the_runs_that_have_it() -> None:
    figures: list[dict[str, float]] = [{"MB": 1.0}, {"MB": 3.0}, {}, {"MB": 1.5}]
    runs = [replace(measured(1.0), figures=found) for found in figures]
    assert line_of(summarise({OURS: runs}), OURS).figures == {"MB": 1.5}


def test_what_is_to_stay_flat_is_compared_with_another_load_in_the_same_round() -> None:
    alone = Cell(Database.SQLITE, ALONE, Contender.OURS)
    results = {
        OURS: [replace(measured(speed), figures={"MB": 3.0}) for speed in (50.0, 50.0, 100.0)],
        alone: [replace(measured(speed), figures={"MB": 2.0}) for speed in (100.0, 200.0, 100.0)],
    }
    marks = [
        Beside(Database.SQLITE, CROWD, ALONE, figure, 2.0)
        for figure in (Figure.COST, Figure.MEMORY, Figure.QUERIES)
    ]
    assert [judged.reached for judged in judge(results, marks)] == [2.0, 1.5, None]
    del results[alone]
    assert [judged.reached for judged in judge(results, marks)] == [None, None, None]


def test_a_run_without_a_completed_workflow_divides_by_nothing() -> None:
    nothing = Measurement(10, 0, 0.0, 0.0, 0.0, 1.0, 0.5, 0.0, 10, "Boom")
    line = line_of(summarise({OURS: [nothing], FLOOR: [nothing]}), OURS)
    assert line.ratios == {}


def test_a_ratio_and_a_limit_are_judged_by_the_medians_of_edda() -> None:
    ratio = Ratio(Database.SQLITE, CROWD, Contender.FLOOR, 0.5)
    limit = Limit(Database.SQLITE, CROWD, Figure.P99, 2.0)
    results = {OURS: [measured(50.0, errors=1)], FLOOR: [measured(100.0)]}
    assert [(judged.reached, judged.errors) for judged in judge(results, [ratio, limit])] == [
        (0.5, 1),
        (2.0, 1),
    ]


def test_a_mark_without_figures_is_not_met_and_one_not_planned_is_not_mentioned() -> None:
    marks = [
        Ratio(Database.SQLITE, CROWD, Contender.DBOS, 1.0),
        Ratio(Database.SQLITE, ALONE, Contender.DBOS, 1.0),
    ]
    judged = judge({OURS: [measured(50.0)], DBOS: [Failure("not installed")]}, marks)
    assert [(judgement.mark, judgement.reached, judgement.met) for judgement in judged] == [
        (marks[0], None, False)
    ]
