"""The table as aligned text for a terminal and as Markdown for the documentation."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.measurement import Failure
from benchmarks.plan import Cell, Contender
from benchmarks.summary import Judgement, Line

HEADER = (
    "database",
    "clients",
    "contender",
    "workflows",
    "runs",
    "steps/s",
    "slowest-fastest",
    "p50 ms",
    "p99 ms",
    "CPU s",
    "CPU us/step",
    "errors",
    "x edda-framework",
    "x dbos",
    "of the floor",
)
TEXT_COLUMNS = {0, 2}
NOTHING = "-"


def rows(lines: Sequence[Line | tuple[Cell, Failure]]) -> list[tuple[str, ...]]:
    """The cells of the table as text; a contender without figures has its reason among the notes."""
    return [_figures(line) if isinstance(line, Line) else _nothing(line[0]) for line in lines]


def _figures(line: Line) -> tuple[str, ...]:
    floor = line.ratios.get(Contender.FLOOR)
    return (
        line.cell.database.value,
        str(line.cell.load.concurrency),
        line.cell.contender.value,
        str(line.workflows),
        str(line.runs),
        f"{line.steps_per_second:,.0f}",
        f"{line.slowest:,.0f}-{line.fastest:,.0f}",
        f"{line.p50_ms:,.1f}",
        f"{line.p99_ms:,.1f}",
        f"{line.cpu_seconds:.2f}",
        f"{line.cpu_us_per_step:,.0f}",
        str(line.errors),
        _times(line.ratios.get(Contender.EDDA_FRAMEWORK)),
        _times(line.ratios.get(Contender.DBOS)),
        NOTHING if floor is None else f"{floor:.1%}",
    )


def _times(ratio: float | None) -> str:
    return NOTHING if ratio is None else f"{ratio:,.1f}"


def _nothing(cell: Cell) -> tuple[str, ...]:
    start = (cell.database.value, str(cell.load.concurrency), cell.contender.value)
    return (*start, *[NOTHING] * (len(HEADER) - len(start)))


def as_text(table: Sequence[tuple[str, ...]]) -> str:
    """Columns aligned by spaces, with an empty line between databases and loads."""
    widths = [max(len(row[column]) for row in (HEADER, *table)) for column in range(len(HEADER))]
    lines = [_aligned(HEADER, widths), "  ".join("-" * width for width in widths)]
    for previous, row in zip([None, *table], table, strict=False):
        if previous is not None and previous[:2] != row[:2]:
            lines.append("")
        lines.append(_aligned(row, widths))
    return "\n".join(lines)


def _aligned(row: tuple[str, ...], widths: Sequence[int]) -> str:
    return "  ".join(
        text.ljust(width) if column in TEXT_COLUMNS else text.rjust(width)
        for column, (text, width) in enumerate(zip(row, widths, strict=True))
    ).rstrip()


def as_markdown(table: Sequence[tuple[str, ...]]) -> str:
    """The same table for a page of the documentation."""
    rule = ["---" if column in TEXT_COLUMNS else "---:" for column in range(len(HEADER))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (HEADER, rule, *table))


def marks(judgements: Sequence[Judgement]) -> list[str]:
    """One line per mark: whether it is met, what was reached, what is asked."""
    return [_mark(judgement) for judgement in judgements]


def _mark(judgement: Judgement) -> str:
    mark = judgement.mark
    where = f"{mark.database}, {mark.load.concurrency} at a time, against {mark.against}"
    asked = _ratio(mark.least, mark.against)
    if judgement.ratio is None:
        return f"[not measured] {where}: asked {asked}"
    verdict = "met" if judgement.met else "missed"
    errors = f" with {judgement.errors} errors" if judgement.errors else ""
    return f"[{verdict}] {where}: {_ratio(judgement.ratio, mark.against)}{errors} (asked {asked})"


def _ratio(ratio: float, against: Contender) -> str:
    return f"{ratio:.0%}" if against is Contender.FLOOR else f"{ratio:,.1f}x"


def remarks(lines: Sequence[Line | tuple[Cell, Failure]]) -> list[str]:
    """The reasons for what is missing and the first of the errors that were counted."""
    found = [_remark(line) for line in lines]
    return list(dict.fromkeys(remark for remark in found if remark))


def _remark(line: Line | tuple[Cell, Failure]) -> str | None:
    if not isinstance(line, Line):
        return f"{_place(line[0])}: {line[1].reason}"
    return f"{_place(line.cell)}: {line.errors} errors, first: {line.first_error}" if line.errors else None


def _place(cell: Cell) -> str:
    return f"{cell.contender} on {cell.database} with {cell.load.concurrency} clients"
