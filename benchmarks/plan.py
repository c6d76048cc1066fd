"""What is measured: workloads of several loads, and how much each cell gets."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.cells import Cell, Contender, Database, Load
from benchmarks.marks import Figure, Mark

QUICK_SHARE = 5
ENOUGH_RUNS = 3
PEERS = (Contender.EDDA_FRAMEWORK, Contender.DBOS)


@dataclass(frozen=True, slots=True)
class Workload:
    """Loads that stand in one table, and the contenders' scripts for them.

    ``sizes`` says how many items (workflows, messages, …) a contender gets under a load. One that
    is not named there knows nothing of the kind. What stands in ``left_out`` is not measured either.
    """

    name: str
    title: str
    """The heading above its table."""
    item: str
    """What ``size`` counts, in the plural."""
    unit: str
    """What is counted per second, in the singular."""
    scripts: Mapping[Contender, str]
    sizes: Mapping[Load, Mapping[Contender, int]]
    marks: Sequence[Mark]
    drawn: Figure
    """What the plot shows."""
    left_out: Collection[Cell] = ()
    runs: int = ENOUGH_RUNS
    """So many rounds make a result: fewer where each of them has its own many samples, and takes minutes."""
    peer_runs: int = 1
    """The peers take minutes for what others do in seconds, so they are in the first rounds only."""
    once: Collection[Load] = ()
    """Loads of the first round only: one run of them has hundreds or thousands of samples."""

    @property
    def loads(self) -> list[Load]:
        return [*self.sizes]

    def measures(self, cell: Cell) -> bool:
        """Whether the contender is measured there."""
        return cell.contender in self.sizes[cell.load] and cell not in self.left_out


@dataclass(frozen=True, slots=True)
class Plan:
    """The cells to measure and how often; ``size`` overrides those of all contenders."""

    workload: Workload
    databases: Collection[Database] = tuple(Database)
    contenders: Collection[Contender] = tuple(Contender)
    only: Collection[str] = ()
    """Names of the loads to measure; none: all."""
    runs: int = ENOUGH_RUNS
    size: int | None = None
    quick: bool = False

    @property
    def loads(self) -> list[Load]:
        return [load for load in self.workload.loads if not self.only or load.name in self.only]

    @property
    def complete(self) -> bool:
        """Whether the result may be shown: everything, at full size, more than once."""
        everything = [set(self.databases) == {*Database}, set(self.contenders) == {*Contender}]
        everything += [self.loads == self.workload.loads, self.runs >= self.workload.runs]
        return all(everything) and self.size is None and not self.quick

    def cells(self) -> list[Cell]:
        """All cells in the order of measuring: contenders that are compared run one after another."""
        cells = [
            Cell(database, load, contender)
            for database in self.databases
            for load in self.loads
            for contender in self.contenders
        ]
        return [cell for cell in cells if self.workload.measures(cell)]

    def rounds(self) -> Iterator[tuple[int, Cell]]:
        """Every run of every cell, a round at a time, so that all see the same phases of the machine."""
        for run in range(1, self.runs + 1):
            for cell in self.cells():
                if run <= self._most_runs(cell):
                    yield run, cell

    def _most_runs(self, cell: Cell) -> int:
        if cell.load in self.workload.once:
            return 1
        return self.workload.peer_runs if cell.contender in PEERS else self.runs

    def size_of(self, cell: Cell) -> int:
        """How many items a run of this cell has."""
        if self.size is not None:
            return self.size
        size = self.workload.sizes[cell.load][cell.contender]
        return max(size // QUICK_SHARE, 1) if self.quick else size
