"""The whole report: the table with its notes on the terminal, and the measurements in a file."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

from benchmarks import table
from benchmarks.cells import Cell, Contender, Database
from benchmarks.databases import warnings
from benchmarks.measurement import HERE, Failure, Measurement
from benchmarks.plan import Plan, Workload
from benchmarks.summary import Results, judge, summarise

FOLDER = HERE / "results"
# For each processor: a minute after a measurement that had one of two to itself nothing is left of it.
QUIET_LOAD = 0.5
QUIET_SHARE = 10.0
LOOK_SECONDS = 3.0
CPU_FACTS = Path("/proc/cpuinfo")
Notes = list[tuple[str, list[str]]]


@dataclass(frozen=True, slots=True)
class Quiet:
    """What others did on the machine before the first measurement."""

    load: float
    """Processes that wanted a processor in the minute before the program began."""
    used: float = 0.0
    """Percent of all processors that were used in the seconds before the workload began."""

    @property
    def broken(self) -> bool:
        """Whether others left too little of the machine: that hurts some contenders more than others."""
        return self.load > QUIET_LOAD * (os.cpu_count() or 1) or self.used > QUIET_SHARE

    def __str__(self) -> str:
        return (
            f"load average when the program began: {self.load:.2f}; "
            f"others used {self.used:.0f} % of the processors {LOOK_SECONDS:.0f} s before this workload"
        )


def look(load: float) -> Quiet:
    """Watch the machine for some seconds, in which nothing here may run."""
    return Quiet(load, psutil.cpu_percent(LOOK_SECONDS))


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the figures depend on besides the contenders."""

    settings: Mapping[Database, dict[str, str]]
    versions: Mapping[Contender, dict[str, str]]
    quiet: Quiet

    def describe(self) -> list[str]:
        """Machine, databases and versions, a line each."""
        memory = psutil.virtual_memory().total / 2**30
        described = [
            f"{os.cpu_count()} processors{_model()}, {memory:.0f} GiB of memory",
            f"Python {platform.python_version()}, {platform.system()} {platform.release()}",
            str(self.quiet),
            *(f"{database}: {_pairs(settings)}" for database, settings in self.settings.items()),
            *(f"{contender}: {_pairs(versions)}" for contender, versions in self.versions.items()),
        ]
        complaints = [text for database, found in self.settings.items() for text in warnings(database, found)]
        if self.quiet.broken:
            complaints.append("the machine was busy: neither figures nor ratios hold")
        return described + [f"WARNING {complaint}" for complaint in complaints]


def _model() -> str:
    """The name of the processor, where Linux tells it."""
    lines = CPU_FACTS.read_text().splitlines() if CPU_FACTS.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f" ({names[0]})" if names else ""


def _pairs(found: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in found.items())


@dataclass(frozen=True, slots=True)
class Report:
    """Results with everything needed to read them."""

    plan: Plan
    results: Results
    surroundings: Surroundings
    accept_busy: bool = False
    """Whether the figures may be shown although others used the machine; the warning stays with them."""

    @property
    def presentable(self) -> bool:
        """Only a complete run takes the place of the one that the documentation shows."""
        return self.plan.complete and (self.accept_busy or not self.surroundings.quiet.broken)

    def text(self) -> str:
        """For a terminal."""
        workload = self.plan.workload
        parts = [table.as_text(table.rows(workload, summarise(self.results)))]
        found = [("Marks of edda", marks_of(workload, self.results)), *notes(self.results, self._about())]
        parts += [f"{title}\n" + "\n".join(f"  {note}" for note in lines) for title, lines in found if lines]
        return "\n\n".join(parts)

    def write(self, folder: Path = FOLDER) -> Path:
        """Put every single measurement into a file; returns its path."""
        folder.mkdir(parents=True, exist_ok=True)
        name = self.plan.workload.name
        path = folder / (f"{name}.json" if self.presentable else f"latest.{name}.json")
        path.write_text(json.dumps(_rounded(self._data()), indent=1) + "\n")
        return path

    def _about(self) -> list[str]:
        date = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
        return [_rounds(self.plan), f"ended on {date}", *self.surroundings.describe()]

    def _data(self) -> dict[str, object]:
        return {
            "workload": self.plan.workload.name,
            "about": self._about(),
            "measurements": [
                _entry(cell, run, result)
                for cell, results in self.results.items()
                for run, result in enumerate(results, start=1)
            ],
        }


def marks_of(workload: Workload, results: Results) -> list[str]:
    """A line for each mark."""
    return [str(judgement) for judgement in judge(results, workload.marks)]


def notes(results: Results, about: Sequence[str]) -> Notes:
    """What stands below a table beside the marks."""
    found = [("Errors and gaps", table.remarks(summarise(results))), ("Measured with", [*about])]
    return [(title, lines) for title, lines in found if lines]


def _rounds(plan: Plan) -> str:
    if plan.quick:
        return "one short round: an indication, not a result"
    fewer = min(plan.workload.peer_runs, plan.runs)
    peers = f", the peers in the first {fewer} of them" if fewer < plan.runs else ""
    return (
        f"{plan.runs} round(s){peers}, contenders one after another in each; medians; ratios within a round"
    )


def _entry(cell: Cell, run: int, result: Measurement | Failure) -> dict[str, object]:
    return {
        "database": cell.database,
        "load": cell.load.name,
        "contender": cell.contender,
        "run": run,
        **asdict(result),
    }


def _rounded(data: object) -> object:
    """Six digits of each figure: the others are noise, and would be most of the file."""
    if isinstance(data, Mapping):
        return {name: _rounded(value) for name, value in data.items()}
    if isinstance(data, list):
        return [_rounded(value) for value in data]
    return float(f"{data:.6g}") if isinstance(data, float) else data
