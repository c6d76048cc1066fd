"""The table as aligned text for a terminal and as Markdown for the documentation."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.cells import Cell, Contender
from benchmarks.measurement import Failure
from benchmarks.plan import Workload
from benchmarks.summary import Line, Lines

TEXT_COLUMNS = {0, 1, 2}
NOTHING = "-"

Row = tuple[str, ...]


def header(workload: Workload, figures: Sequence[str] = ()) -> Row:
    """The names of the columns; ``figures`` are those that only some loads have."""
    return (
        "database",
        "load",
        "contender",
        workload.item,
        "runs",
        f"{workload.unit}s/s",
        "slowest-fastest",
        "p50 ms",
        "p99 ms",
        *figures,
        "CPU s",
        f"CPU us/{workload.unit}",
        "errors",
        "x edda-framework",
        "x dbos",
        "of the floor",
    )


def rows(workload: Workload, lines: Lines) -> list[Row]:
    """Header and lines as text; a contender without figures has its reason among the notes.

    A figure that no line has gets no column.
    """
    further = [*dict.fromkeys(name for line in lines if isinstance(line, Line) for name in line.figures)]
    names = header(workload, further)
    return [
        names,
        *(
            _figures(line, further) if isinstance(line, Line) else _nothing(line[0], len(names))
            for line in lines
        ),
    ]


def _figures(line: Line, further: Sequence[str]) -> Row:
    digits = 1 if line.per_second is None else 0
    return (
        line.cell.database.value,
        line.cell.load.name,
        line.cell.contender.value,
        str(line.size),
        str(line.runs),
        _number(line.per_second, 0),
        f"{line.slowest:,.{digits}f}-{line.fastest:,.{digits}f}",
        _number(line.p50_ms, 1),
        _number(line.p99_ms, 1),
        *(_number(line.figures.get(name), 2) for name in further),
        _number(line.cpu_seconds, 2),
        _number(line.cpu_us_each, 0),
        str(line.errors),
        _number(line.ratios.get(Contender.EDDA_FRAMEWORK), 1),
        _number(line.ratios.get(Contender.DBOS), 1),
        _share(line.ratios.get(Contender.FLOOR)),
    )


def _number(value: float | None, digits: int) -> str:
    return NOTHING if value is None else f"{value:,.{digits}f}"


def _share(ratio: float | None) -> str:
    return NOTHING if ratio is None else f"{ratio:.1%}"


def _nothing(cell: Cell, columns: int) -> Row:
    start = (cell.database.value, cell.load.name, cell.contender.value)
    return (*start, *[NOTHING] * (columns - len(start)))


def as_text(table: Sequence[Row]) -> str:
    """Columns aligned by spaces, with an empty line between databases and loads."""
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    names, *figures = table
    lines = [_aligned(names, widths), "  ".join("-" * width for width in widths)]
    for previous, row in zip([None, *figures], figures, strict=False):
        if previous is not None and previous[:2] != row[:2]:
            lines.append("")
        lines.append(_aligned(row, widths))
    return "\n".join(lines)


def _aligned(row: tuple[str, ...], widths: Sequence[int]) -> str:
    return "  ".join(
        text.ljust(width) if column in TEXT_COLUMNS else text.rjust(width)
        for column, (text, width) in enumerate(zip(row, widths, strict=True))
    ).rstrip()


def as_markdown(table: Sequence[Row]) -> str:
    """The same table for a page of the documentation."""
    names, *figures = table
    rule = ["---" if column in TEXT_COLUMNS else "---:" for column in range(len(names))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (names, rule, *figures))


def remarks(lines: Lines) -> list[str]:
    """The reasons for what is missing and the first of the errors that were counted."""
    found = [_remark(line) for line in lines]
    return list(dict.fromkeys(remark for remark in found if remark))


def _remark(line: Line | tuple[Cell, Failure]) -> str | None:
    if not isinstance(line, Line):
        return f"{_place(line[0])}: {line[1].reason}"
    return f"{_place(line.cell)}: {line.errors} errors, first: {line.first_error}" if line.errors else None


def _place(cell: Cell) -> str:
    return f"{cell.contender} on {cell.database}, {cell.load.name}"
