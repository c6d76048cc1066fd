"""The page of the documentation: what complete runs have left, and the reasons for what is missed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import kept, plots, table
from benchmarks.kept import Kept
from benchmarks.marks import Judgement
from benchmarks.measurement import HERE
from benchmarks.plan import Workload
from benchmarks.report import notes
from benchmarks.summary import judge, summarise

DOCS = HERE.parent / "docs"
REASONS = HERE / "reasons.md"
PAGE = "benchmarks.md"
PLOTS = "benchmarks"

BEGINNING = """\
<!-- Written by `python -m benchmarks --page`: change benchmarks/reasons.md instead. -->

# Benchmarks

What edda does per second, how long things take and what they cost, beside edda-framework, DBOS and the
floor: the same rows, group-committed with no engine at all. Every table comes from one complete run, in which
all contenders were measured one after another in each round; what it was measured with stands below it.
[benchmarks/README.md](../benchmarks/README.md) tells what each workload does and what the columns mean. The
ratios are the result: absolute figures depend on the machine.
"""
ENDING = """\
## Repeat it

```
make bench                            # everything, and this page
.venv/bin/python -m benchmarks {name}    # one workload, and its part of this page
.venv/bin/python -m benchmarks --page    # this page, from the results that are kept
```

On a quiet machine: a run while others used it does not reach this page unless `--accept-busy` says so.
Servers of PostgreSQL and MariaDB are started for it unless `EDDA_TEST_POSTGRES_URL` and
`EDDA_TEST_MYSQL_URL` name others.
"""


@dataclass(frozen=True, slots=True)
class Page:
    """What the page is made of; ``reasons`` are texts by the name of the workload."""

    workloads: Sequence[Workload]
    runs: Mapping[str, Kept]
    reasons: Mapping[str, str]

    def unexplained(self) -> list[str]:
        """Workloads with marks that are missed and no word about why."""
        return [
            name
            for name, run in self.runs.items()
            if name not in self.reasons and not all(judged.met for judged in _judged(run))
        ]

    def write(self, docs: Path) -> Path:
        """Draw the plots and write the page that shows them; returns its path."""
        drawn = {name: plots.draw(run.workload, run.results, docs / PLOTS) for name, run in self.runs.items()}
        path = docs / PAGE
        parts = [BEGINNING, self._marks()]
        parts += [self._section(workload, drawn.get(workload.name)) for workload in self.workloads]
        parts.append(ENDING.format(name=self.workloads[0].name))
        path.write_text("\n".join(parts))
        return path

    def _marks(self) -> str:
        judged = [(run.workload, judgement) for run in self.runs.values() for judgement in _judged(run)]
        if not judged:
            return "## Marks\n\nThere is no complete run yet.\n"
        met = sum(judgement.met for _, judgement in judged)
        rows: list[Sequence[str]] = [("workload", "mark", "reached", "asked", "")]
        rows += [_row(workload, judgement) for workload, judgement in judged]
        return f"## Marks\n\n{met} of {len(judged)} are met.\n\n{_markdown(rows)}\n"

    def _section(self, workload: Workload, plot: Path | None) -> str:
        parts = [f"## {workload.title}", f"`.venv/bin/python -m benchmarks {workload.name}`"]
        run = self.runs.get(workload.name)
        if run is None:
            return "\n\n".join([*parts, "There is no complete run of this workload yet."]) + "\n"
        if plot:
            parts.append(f"![{workload.title}]({PLOTS}/{plot.name})")
        parts.append(table.as_markdown(table.rows(workload, summarise(run.results))))
        if workload.name in self.reasons:
            parts += ["**About the marks**", self.reasons[workload.name]]
        for title, lines in notes(run.results, run.about):
            parts += [f"**{title}**", "\n".join(f"* {line}" for line in lines)]
        return "\n\n".join(parts) + "\n"


def compose(workloads: Sequence[Workload], *, results: Path, reasons: Path = REASONS) -> Page:
    """Read what there is."""
    runs = {workload.name: kept.read(workload, results) for workload in workloads}
    found = {name: run for name, run in runs.items() if run is not None}
    return Page(workloads, found, texts(reasons.read_text()))


def texts(reasons: str) -> dict[str, str]:
    """The text below each heading of the second level, by the heading; what comes before is for authors."""
    _, *parts = re.split(r"^## (.+)$", reasons, flags=re.MULTILINE)
    return {name.strip(): text.strip() for name, text in zip(parts[::2], parts[1::2], strict=True)}


def _judged(run: Kept) -> list[Judgement]:
    return judge(run.results, run.workload.marks)


def _row(workload: Workload, judged: Judgement) -> tuple[str, ...]:
    reached = "-" if judged.reached is None else judged.mark.show(judged.reached)
    link = f"[{workload.name}](#{workload.title.lower().replace(',', '').replace(' ', '-')})"
    return link, str(judged.mark), reached, judged.mark.asked, judged.verdict


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    names, *others = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in (names, ["---"] * len(names), *others))
