"""The workload of a database that grows: what a step costs beside so many finished instances."""

from __future__ import annotations

from benchmarks.cells import Cell, Contender, Database, Load
from benchmarks.marks import Beside, Figure, Mark
from benchmarks.plan import PEERS, Workload
from benchmarks.steps import STEPS

# Workflows of one step by 100 clients.
ONE_STEP = ("1", "100")
THOUSAND = Load("1 k finished", ONE_STEP, finished=1000)
HUNDRED_THOUSAND = Load("100 k finished", ONE_STEP, finished=100_000)
MILLION = Load("1 M finished", ONE_STEP, finished=1_000_000)

LOADS = (THOUSAND, HUNDRED_THOUSAND, MILLION)
# As flat as the least precise of the measurements.
FLAT = 1.15

MARKS: list[Mark] = [
    Beside(database, load, THOUSAND, Figure.COST, FLAT)
    for database in (Database.SQLITE, Database.POSTGRESQL)
    for load in (HUNDRED_THOUSAND, MILLION)
]

FINISHED = Workload(
    name="finished",
    title="Steps beside finished instances",
    item="workflows",
    unit="step",
    scripts={name: script for name, script in STEPS.scripts.items() if name is not Contender.FLOOR},
    # What the peers do in a database that grows is not our question: one size shows where they stand.
    sizes={
        THOUSAND: {Contender.OURS: 10_000, Contender.EDDA_FRAMEWORK: 100, Contender.DBOS: 100},
        HUNDRED_THOUSAND: {Contender.OURS: 10_000},
        MILLION: {Contender.OURS: 10_000},
    },
    marks=MARKS,
    drawn=Figure.RATE,
    left_out=[
        *(Cell(Database.MYSQL, load, contender) for load in LOADS for contender in Contender),
        *(Cell(Database.SQLITE, load, peer) for load in LOADS for peer in PEERS),
    ],
    # A measurement takes a few seconds, and what is compared differs by a few per cent.
    runs=5,
)
