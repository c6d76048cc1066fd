"""The whole report: the table with its notes, on the terminal and in files."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import table
from benchmarks.databases import warnings
from benchmarks.measurement import HERE, Failure, Measurement
from benchmarks.plan import Cell, Contender, Database, Plan
from benchmarks.summary import Results, judge, summarise

FOLDER = HERE / "results"
QUIET_LOAD = 0.5


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the figures depend on besides the contenders."""

    settings: Mapping[Database, dict[str, str]]
    versions: Mapping[Contender, dict[str, str]]
    load: float
    """Processes that wanted a processor in the minute before the first measurement."""

    @property
    def busy(self) -> bool:
        """Whether others left too little of the machine: that hurts some contenders more than others."""
        return self.load > QUIET_LOAD

    def describe(self) -> list[str]:
        """Machine, databases and versions, a line each."""
        described = [
            f"{os.cpu_count()} processors, Python {platform.python_version()}, {platform.system()}",
            *(f"{database}: {_pairs(settings)}" for database, settings in self.settings.items()),
            *(f"{contender}: {_pairs(versions)}" for contender, versions in self.versions.items()),
        ]
        complaints = [text for database, found in self.settings.items() for text in warnings(database, found)]
        if self.busy:
            complaints.append(f"the machine was busy (load {self.load:.1f}): neither figures nor ratios hold")
        return described + [f"WARNING {complaint}" for complaint in complaints]


def _pairs(found: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in found.items())


@dataclass(frozen=True, slots=True)
class Report:
    """Results with everything needed to read them."""

    plan: Plan
    results: Results
    surroundings: Surroundings

    def text(self) -> str:
        """For a terminal."""
        parts = [table.as_text(table.rows(summarise(self.results)))]
        parts += [f"{title}\n" + "\n".join(f"  {note}" for note in notes) for title, notes in self._notes()]
        return "\n\n".join(parts)

    def markdown(self) -> str:
        """For a page of the documentation."""
        parts = [table.as_markdown(table.rows(summarise(self.results)))]
        parts += [
            f"**{title}**\n\n" + "\n".join(f"* {note}" for note in notes) for title, notes in self._notes()
        ]
        return "\n\n".join(parts) + "\n"

    def write(self, folder: Path = FOLDER) -> list[Path]:
        """Put the table and every single measurement into files; returns their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        # Only a complete run on a quiet machine takes the place of the table that the documentation shows.
        presentable = self.plan.complete and not self.surroundings.busy
        figures, page = folder / "latest.json", folder / ("steps.md" if presentable else "latest.md")
        figures.write_text(json.dumps(self._data(), indent=1) + "\n")
        page.write_text(self.markdown())
        return [figures, page]

    def _notes(self) -> list[tuple[str, list[str]]]:
        lines = summarise(self.results)
        notes = [
            ("Marks of edda", table.marks(judge(lines))),
            ("Errors and gaps", table.remarks(lines)),
            ("Measured with", [_rounds(self.plan), *self.surroundings.describe()]),
        ]
        return [(title, found) for title, found in notes if found]

    def _data(self) -> dict[str, object]:
        return {
            "runs": self.plan.runs,
            "quick": self.plan.quick,
            "surroundings": self.surroundings.describe(),
            "measurements": [
                _entry(cell, run, result)
                for cell, results in self.results.items()
                for run, result in enumerate(results, start=1)
            ],
            "marks": [
                {
                    "database": judgement.mark.database,
                    "concurrency": judgement.mark.load.concurrency,
                    "against": judgement.mark.against,
                    "asked": judgement.mark.least,
                    "reached": judgement.ratio,
                }
                for judgement in judge(summarise(self.results))
            ],
        }


def _rounds(plan: Plan) -> str:
    if plan.quick:
        return "one short round: an indication, not a result"
    return f"{plan.runs} round(s), contenders one after another in each; medians; ratios within a round"


def _entry(cell: Cell, run: int, result: Measurement | Failure) -> dict[str, object]:
    return {
        "database": cell.database,
        "concurrency": cell.load.concurrency,
        "steps": cell.load.steps,
        "contender": cell.contender,
        "run": run,
        **asdict(result),
    }
