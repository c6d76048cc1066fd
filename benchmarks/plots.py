"""A picture of each workload: one bar for each contender, on a logarithmic scale, as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure as Picture

from benchmarks.cells import Contender
from benchmarks.marks import Figure
from benchmarks.plan import Workload
from benchmarks.summary import Line, Results, figure_of_line, summarise

COLOURS = {
    Contender.OURS: "#2563eb",
    Contender.FLOOR: "#9ca3af",
    Contender.EDDA_FRAMEWORK: "#d97706",
    Contender.DBOS: "#059669",
}
WIDTH = 7.5
HEIGHT_OF_BAR = 0.14
MARGIN = 1.0
# Letters stay letters, and the same figures give the same file.
STYLE: Any = {"svg.fonttype": "none", "svg.hashsalt": "edda", "font.size": 9}


def draw(workload: Workload, results: Results, folder: Path) -> Path | None:
    """Draw the figure that the workload names; None if no line has it."""
    lines = [
        line
        for line in summarise(results)
        if isinstance(line, Line) and figure_of_line(line, workload.drawn) is not None
    ]
    if not lines:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{workload.name}.svg"
    with mpl.rc_context(STYLE):
        picture = _picture(workload, lines)
        picture.savefig(path, format="svg", bbox_inches="tight", metadata={"Date": None})
    # Matplotlib ends some lines with spaces, which editors and linters take away again.
    path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")
    return path


def _picture(workload: Workload, lines: Sequence[Line]) -> Picture:
    """Groups of bars from top to bottom: a load on a database, and in it those that were measured."""
    picture = Picture(figsize=(WIDTH, MARGIN + HEIGHT_OF_BAR * (len(lines) + len(_groups(lines)))))
    axes = picture.subplots()
    height, centres = 0.0, {}
    for group, members in _groups(lines).items():
        centres[group] = height + (len(members) - 1) / 2
        for line in members:
            value = figure_of_line(line, workload.drawn)
            contender = line.cell.contender
            axes.barh(height, value or 0.0, 0.9, color=COLOURS[contender], label=contender.value)
            height += 1
        height += 1
    axes.set_yticks([*centres.values()], [*centres])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlim(*_decades([figure_of_line(line, workload.drawn) or 1.0 for line in lines]))
    name = f"{workload.unit}s/s" if workload.drawn is Figure.RATE else workload.drawn.value
    axes.set_xlabel(f"{name} (logarithmic)")
    axes.spines[["top", "right"]].set_visible(False)
    named = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    picture.legend(
        named.values(),
        named.keys(),
        ncols=len(named),
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        frameon=False,
    )
    return picture


def _decades(values: Sequence[float]) -> tuple[float, float]:
    """Powers of ten around the values, so that the shortest bar is still seen and the scale has numbers."""
    least, most = math.log10(min(values) / 1.5), math.log10(max(values))
    return 10.0 ** math.floor(least), 10.0 ** math.ceil(most)


def _groups(lines: Sequence[Line]) -> dict[str, list[Line]]:
    groups: dict[str, list[Line]] = {}
    for line in lines:
        groups.setdefault(f"{line.cell.load.name}, {line.cell.database}", []).append(line)
    return groups
