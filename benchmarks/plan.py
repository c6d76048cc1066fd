"""What is measured: contenders, databases, loads, and how many workflows each cell gets."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum


class Contender(StrEnum):
    OURS = "edda"
    FLOOR = "floor"
    EDDA_FRAMEWORK = "edda-framework"
    DBOS = "dbos"


class Database(StrEnum):
    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"
    MYSQL = "mysql"


@dataclass(frozen=True, slots=True)
class Load:
    """So many clients, each of which starts a workflow of ``steps`` when its last one has finished."""

    concurrency: int
    steps: int = 10


CROWD = Load(concurrency=100)
ALONE = Load(concurrency=1)
LOADS = (CROWD, ALONE)

# The floor and edda do in a second what the others do in minutes. At 100 concurrent each
# contender gets at least 100 workflows, so that 100 of them really run at the same time.
WORKFLOWS = {
    CROWD: {Contender.OURS: 2000, Contender.FLOOR: 2000, Contender.EDDA_FRAMEWORK: 100, Contender.DBOS: 100},
    ALONE: {Contender.OURS: 150, Contender.FLOOR: 150, Contender.EDDA_FRAMEWORK: 30, Contender.DBOS: 30},
}
QUICK_SHARE = 5
ENOUGH_RUNS = 3
UNSUPPORTED = {(Contender.DBOS, Database.MYSQL)}


@dataclass(frozen=True, slots=True)
class Cell:
    """One line of the table: a contender on a database under a load."""

    database: Database
    load: Load
    contender: Contender


@dataclass(frozen=True, slots=True)
class Plan:
    """The cells to measure and how often; ``workflows`` overrides the sizes of all contenders."""

    databases: Collection[Database] = tuple(Database)
    contenders: Collection[Contender] = tuple(Contender)
    loads: Collection[Load] = LOADS
    runs: int = ENOUGH_RUNS
    workflows: int | None = None
    quick: bool = False

    @property
    def complete(self) -> bool:
        """Whether the result may be shown: everything, at full size, more than once."""
        everything = [set(self.databases) == {*Database}, set(self.contenders) == {*Contender}]
        everything += [set(self.loads) == {*LOADS}, self.runs >= ENOUGH_RUNS]
        return all(everything) and self.workflows is None and not self.quick

    def cells(self) -> list[Cell]:
        """All cells in the order of measuring: contenders that are compared run one after another."""
        return [
            Cell(database, load, contender)
            for database in self.databases
            for load in self.loads
            for contender in self.contenders
            if (contender, database) not in UNSUPPORTED
        ]

    def rounds(self) -> Iterator[tuple[int, Cell]]:
        """Every run of every cell, a round at a time, so that all see the same phases of the machine."""
        for run in range(1, self.runs + 1):
            for cell in self.cells():
                yield run, cell

    def size(self, cell: Cell) -> int:
        """How many workflows a run of this cell executes."""
        if self.workflows is not None:
            return self.workflows
        size = WORKFLOWS[cell.load][cell.contender]
        return max(size // QUICK_SHARE, 1) if self.quick else size
