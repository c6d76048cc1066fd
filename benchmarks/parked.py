"""The workload of many instances that wait: what they cost while nothing happens, and when some wake."""

from __future__ import annotations

from benchmarks.cells import Cell, Contender, Database, Load
from benchmarks.marks import Beside, Figure, Mark
from benchmarks.plan import Workload

WOKEN = "1000"
# Seconds in which nothing happens: longer than the pause between two beats of the leader.
IDLE = "20"
TEN_THOUSAND = Load("10 k parked", (WOKEN, IDLE))
HUNDRED_THOUSAND = Load("100 k parked", (WOKEN, IDLE))

LOADS = (TEN_THOUSAND, HUNDRED_THOUSAND)
FLAT = 1.25

MARKS: list[Mark] = [
    Beside(database, HUNDRED_THOUSAND, TEN_THOUSAND, figure, FLAT)
    for database in (Database.SQLITE, Database.POSTGRESQL)
    for figure in (Figure.MEMORY, Figure.QUERIES, Figure.COST)
]

PARKED = Workload(
    name="parked",
    title="Parked instances",
    item="parked",
    unit="wait",
    scripts={Contender.OURS: "ours_parked.py"},
    sizes={TEN_THOUSAND: {Contender.OURS: 10_000}, HUNDRED_THOUSAND: {Contender.OURS: 100_000}},
    marks=MARKS,
    drawn=Figure.RATE,
    runs=2,
    left_out=[Cell(Database.MYSQL, load, Contender.OURS) for load in LOADS],
)
