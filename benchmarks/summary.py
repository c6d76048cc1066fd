"""From measurements to the lines of the table: medians, ratios within a round, marks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.cells import Cell, Contender
from benchmarks.marks import Beside, Figure, Judgement, Mark, Ratio
from benchmarks.measurement import Failure, Measurement
from benchmarks.plan import PEERS

Results = Mapping[Cell, Sequence[Measurement | Failure]]


@dataclass(frozen=True, slots=True)
class Line:
    """One contender on one database under one load: medians of the runs that gave figures.

    ``ratios`` say how many times faster it was than another contender in the same round.
    ``slowest`` and ``fastest`` are of ``per_second``, or where there is none, of ``p50_ms``.
    """

    cell: Cell
    size: int
    runs: int
    per_second: float | None
    slowest: float
    fastest: float
    p50_ms: float
    p99_ms: float
    figures: Mapping[str, float]
    cpu_seconds: float
    cpu_us_each: float
    errors: int
    first_error: str | None
    ratios: Mapping[Contender, float]


Lines = Sequence[Line | tuple[Cell, Failure]]


def summarise(results: Results) -> list[Line | tuple[Cell, Failure]]:
    """The lines of the table in the order of the results; a cell without any figure keeps its reason."""
    lines: list[Line | tuple[Cell, Failure]] = []
    for cell, runs in results.items():
        good = [run for run in runs if isinstance(run, Measurement)]
        bad = [run for run in runs if isinstance(run, Failure)]
        if good:
            lines.append(_line(cell, good, bad, results))
        else:
            lines.append((cell, bad[0] if bad else Failure("not measured")))
    return lines


def _line(cell: Cell, good: Sequence[Measurement], bad: Sequence[Failure], results: Results) -> Line:
    speeds = [run.per_second for run in good if run.per_second is not None]
    by_speed = sorted(good, key=lambda run: run.speed)
    messages = [run.first_error for run in good if run.first_error] + [failure.reason for failure in bad]
    return Line(
        cell=cell,
        size=good[0].size,
        runs=len(good),
        per_second=median(speeds) if speeds else None,
        slowest=_shown_speed(by_speed[0]),
        fastest=_shown_speed(by_speed[-1]),
        p50_ms=median(run.p50_ms for run in good),
        p99_ms=median(run.p99_ms for run in good),
        figures=_figures(good),
        cpu_seconds=median(run.cpu_seconds for run in good),
        cpu_us_each=median(run.cpu_us_each for run in good),
        errors=sum(run.errors for run in good) + len(bad),
        first_error=messages[0] if messages else None,
        ratios=_ratios(cell, results),
    )


def _figures(runs: Sequence[Measurement]) -> dict[str, float]:
    """Medians of the further figures, each of the runs that have it."""
    names = dict.fromkeys(name for run in runs for name in run.figures)
    return {name: median(run.figures[name] for run in runs if name in run.figures) for name in names}


def _shown_speed(run: Measurement) -> float:
    return run.p50_ms if run.per_second is None else run.per_second


def _ratios(cell: Cell, results: Results) -> dict[Contender, float]:
    """Medians of the ratios of each round, as a machine that slows down slows both sides of a round."""
    ratios = {}
    for other in (*PEERS, Contender.FLOOR):
        theirs = results.get(Cell(cell.database, cell.load, other), ())
        if other is cell.contender:
            continue
        shared = [
            mine.speed / their.speed
            for mine, their in zip(results[cell], theirs, strict=False)
            if isinstance(mine, Measurement) and isinstance(their, Measurement) and their.speed
        ]
        if shared:
            ratios[other] = median(shared)
    return ratios


def judge(results: Results, marks: Sequence[Mark]) -> list[Judgement]:
    """Every mark of the databases and loads that were measured, with what was reached."""
    planned = {(cell.database, cell.load) for cell in results}
    ours = {
        line.cell: line
        for line in summarise(results)
        if isinstance(line, Line) and line.cell.contender is Contender.OURS
    }
    judgements = []
    for mark in marks:
        if (mark.database, mark.load) in planned:
            line = ours.get(Cell(mark.database, mark.load, Contender.OURS))
            judgements.append(
                Judgement(mark, _reached(mark, line, results), line.errors) if line else Judgement(mark, None)
            )
    return judgements


def _reached(mark: Mark, line: Line, results: Results) -> float | None:
    if isinstance(mark, Ratio):
        return line.ratios.get(mark.against)
    if isinstance(mark, Beside):
        return _beside(mark, results)
    return figure_of_line(line, mark.figure)


def figure_of_line(line: Line, figure: Figure) -> float | None:
    """A figure of a line by its name."""
    named = {Figure.RATE: line.per_second, Figure.P50: line.p50_ms, Figure.P99: line.p99_ms}
    return named[figure] if figure in named else line.figures.get(figure)


def _beside(mark: Beside, results: Results) -> float | None:
    """The median of the ratios of each round."""
    pairs = zip(
        results[Cell(mark.database, mark.load, Contender.OURS)],
        results.get(Cell(mark.database, mark.other, Contender.OURS), ()),
        strict=False,
    )
    figures = [
        (_figure_of_run(one, mark.figure), _figure_of_run(other, mark.figure))
        for one, other in pairs
        if isinstance(one, Measurement) and isinstance(other, Measurement)
    ]
    ratios = [one / other for one, other in figures if one is not None and other]
    return median(ratios) if ratios else None


def _figure_of_run(run: Measurement, figure: Figure) -> float | None:
    if figure is Figure.COST:
        return 1 / run.speed if run.speed else None
    return run.figures.get(figure)
