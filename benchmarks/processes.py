"""The workload of several worker processes on one database."""

from __future__ import annotations

from benchmarks.cells import Cell, Contender, Database, Load
from benchmarks.marks import Beside, Figure, Mark
from benchmarks.plan import Workload
from benchmarks.steps import STEPS, STEPS_OF_A_WORKFLOW

# 100 clients, which the processes share.
ONE = Load("1 process", (STEPS_OF_A_WORKFLOW, "100", "1"))
TWO = Load("2 processes", (STEPS_OF_A_WORKFLOW, "100", "2"))
FOUR = Load("4 processes", (STEPS_OF_A_WORKFLOW, "100", "4"))

LOADS = (ONE, TWO, FOUR)

MARKS: list[Mark] = [Beside(Database.POSTGRESQL, load, ONE, Figure.COST, 1.0) for load in (TWO, FOUR)]

PROCESSES = Workload(
    name="processes",
    title="Worker processes on one database",
    item="workflows",
    unit="step",
    scripts=STEPS.scripts,
    sizes={
        load: {
            Contender.OURS: 4000,
            Contender.FLOOR: 4000,
            Contender.EDDA_FRAMEWORK: 100,
            Contender.DBOS: 100,
        }
        for load in LOADS
    },
    marks=MARKS,
    drawn=Figure.RATE,
    left_out=[
        Cell(database, load, contender)
        for database in (Database.SQLITE, Database.MYSQL)
        for load in LOADS
        for contender in Contender
    ],
)
