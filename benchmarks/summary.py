"""From measurements to the lines of the table: medians, ratios within a round, marks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.measurement import Failure, Measurement
from benchmarks.plan import ALONE, CROWD, Cell, Contender, Database, Load

Results = Mapping[Cell, Sequence[Measurement | Failure]]

PEERS = (Contender.EDDA_FRAMEWORK, Contender.DBOS)


@dataclass(frozen=True, slots=True)
class Line:
    """One contender on one database under one load: medians of the runs that gave figures.

    ``ratios`` are steps/s divided by those of another contender in the same round.
    """

    cell: Cell
    workflows: int
    runs: int
    steps_per_second: float
    slowest: float
    fastest: float
    p50_ms: float
    p99_ms: float
    cpu_seconds: float
    cpu_us_per_step: float
    errors: int
    first_error: str | None
    ratios: Mapping[Contender, float]


@dataclass(frozen=True, slots=True)
class Mark:
    """The least ratio that edda has to reach against another contender."""

    database: Database
    load: Load
    against: Contender
    least: float


def _marks(database: Database, load: Load, **least: float) -> list[Mark]:
    return [Mark(database, load, Contender[name], ratio) for name, ratio in least.items()]


MARKS = (
    *_marks(Database.SQLITE, CROWD, EDDA_FRAMEWORK=100, DBOS=60, FLOOR=0.4),
    *_marks(Database.SQLITE, ALONE, EDDA_FRAMEWORK=8, DBOS=8, FLOOR=0.6),
    *_marks(Database.POSTGRESQL, CROWD, EDDA_FRAMEWORK=60, DBOS=60, FLOOR=0.5),
    *_marks(Database.POSTGRESQL, ALONE, EDDA_FRAMEWORK=8, DBOS=8, FLOOR=0.6),
    *_marks(Database.MYSQL, CROWD, FLOOR=0.4),
)


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
    speeds = [run.steps_per_second for run in good]
    messages = [run.first_error for run in good if run.first_error] + [failure.reason for failure in bad]
    return Line(
        cell=cell,
        workflows=good[0].workflows,
        runs=len(good),
        steps_per_second=median(speeds),
        slowest=min(speeds),
        fastest=max(speeds),
        p50_ms=median(run.p50_ms for run in good),
        p99_ms=median(run.p99_ms for run in good),
        cpu_seconds=median(run.cpu_seconds for run in good),
        cpu_us_per_step=median(_cpu_us_per_step(run, cell.load) for run in good),
        errors=sum(run.errors for run in good) + len(bad),
        first_error=messages[0] if messages else None,
        ratios=_ratios(cell, results),
    )


def _cpu_us_per_step(run: Measurement, load: Load) -> float:
    steps = run.completed * load.steps
    return run.cpu_seconds / steps * 1e6 if steps else 0.0


def _ratios(cell: Cell, results: Results) -> dict[Contender, float]:
    """Medians of the ratios of each round, as a machine that slows down slows both sides of a round."""
    ratios = {}
    for other in (*PEERS, Contender.FLOOR):
        theirs = results.get(Cell(cell.database, cell.load, other), ())
        if other is cell.contender:
            continue
        shared = [
            mine.steps_per_second / their.steps_per_second
            for mine, their in zip(results[cell], theirs, strict=False)
            if isinstance(mine, Measurement) and isinstance(their, Measurement) and their.steps_per_second
        ]
        if shared:
            ratios[other] = median(shared)
    return ratios


@dataclass(frozen=True, slots=True)
class Judgement:
    """A mark and the ratio that was measured for it; None: one of the two sides has no figure.

    However fast it was, a run of edda with an error meets nothing.
    """

    mark: Mark
    ratio: float | None
    errors: int = 0

    @property
    def met(self) -> bool:
        return self.ratio is not None and self.ratio >= self.mark.least and not self.errors


def judge(lines: Sequence[Line | tuple[Cell, Failure]], marks: Sequence[Mark] = MARKS) -> list[Judgement]:
    """Every mark of the databases and loads that were measured, with the ratio reached."""
    planned = {(_cell(line).database, _cell(line).load) for line in lines}
    ours = {
        line.cell: line for line in lines if isinstance(line, Line) and line.cell.contender is Contender.OURS
    }
    judgements = []
    for mark in marks:
        if (mark.database, mark.load) in planned:
            line = ours.get(Cell(mark.database, mark.load, Contender.OURS))
            ratio, errors = (line.ratios.get(mark.against), line.errors) if line else (None, 0)
            judgements.append(Judgement(mark, ratio, errors))
    return judgements


def _cell(line: Line | tuple[Cell, Failure]) -> Cell:
    return line.cell if isinstance(line, Line) else line[0]
