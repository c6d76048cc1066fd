"""The workload of a start: importing the library, and opening a database that is up to date."""

from __future__ import annotations

from benchmarks.cells import Cell, Contender, Database, Load
from benchmarks.marks import Figure, Limit, Mark
from benchmarks.plan import Workload

IMPORT = Load("import", ("import",))
INITIALIZE = Load("initialize", ("initialize",))

LOADS = (IMPORT, INITIALIZE)

MARKS: list[Mark] = [
    Limit(Database.SQLITE, IMPORT, Figure.P50, 500.0),
    Limit(Database.SQLITE, INITIALIZE, Figure.P50, 200.0),
]

STARTUP = Workload(
    name="startup",
    title="Start-up",
    item="starts",
    unit="start",
    scripts={
        Contender.OURS: "edda_startup.py",
        Contender.EDDA_FRAMEWORK: "edda_startup.py",
        Contender.DBOS: "dbos_startup.py",
    },
    sizes={load: {Contender.OURS: 5, Contender.EDDA_FRAMEWORK: 5, Contender.DBOS: 5} for load in LOADS},
    marks=MARKS,
    drawn=Figure.P50,
    left_out=[
        Cell(database, load, contender)
        for database in (Database.POSTGRESQL, Database.MYSQL)
        for load in LOADS
        for contender in Contender
    ],
)
