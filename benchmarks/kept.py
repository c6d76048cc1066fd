"""Results of an earlier run, read back from their file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.cells import Cell, Contender, Database
from benchmarks.measurement import Failure, Measurement
from benchmarks.plan import Workload
from benchmarks.summary import Results

PLACE = ("database", "load", "contender", "run")


@dataclass(frozen=True, slots=True)
class Kept:
    """What a complete run of a workload has left."""

    workload: Workload
    results: Results
    about: Sequence[str]
    """How and on what it was measured, a line each."""


def read(workload: Workload, folder: Path) -> Kept | None:
    """The last complete run of the workload; None if there was none."""
    path = folder / f"{workload.name}.json"
    if not path.exists():
        return None
    data = json.loads(path.read_text())
    loads = {load.name: load for load in workload.loads}
    results: dict[Cell, list[Measurement | Failure]] = {}
    for entry in data["measurements"]:
        # A load that was renamed since has no place in the table any more.
        if entry["load"] in loads:
            cell = Cell(Database(entry["database"]), loads[entry["load"]], Contender(entry["contender"]))
            results.setdefault(cell, []).append(_result(entry))
    return Kept(workload, results, data["about"])


def _result(entry: Mapping[str, Any]) -> Measurement | Failure:
    figures = {name: value for name, value in entry.items() if name not in PLACE}
    return Failure(**figures) if "reason" in figures else Measurement(**figures)
