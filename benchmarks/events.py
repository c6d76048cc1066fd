"""The workload of events: how fast they come in over HTTP, and how fast they go out through the outbox."""

from __future__ import annotations

from benchmarks.cells import Cell, Contender, Database, Load
from benchmarks.marks import Figure, Limit, Mark, against
from benchmarks.plan import Workload

STORED = Load("in, stored", ("stored",))
STARTED = Load("in, starts a workflow", ("started",))
BACKLOG = Load("out, backlog", ("backlog",))
DELAY = Load("out, one at a time", ("delay",))

LOADS = (STORED, STARTED, BACKLOG, DELAY)
PEER = Contender.EDDA_FRAMEWORK

DATABASES = (Database.SQLITE, Database.POSTGRESQL)

MARKS: list[Mark] = [
    *(mark for database in DATABASES for mark in against(database, STORED, FLOOR=0.4)),
    *(mark for database in DATABASES for mark in against(database, STARTED, EDDA_FRAMEWORK=10)),
    *(mark for database in DATABASES for mark in against(database, BACKLOG, EDDA_FRAMEWORK=50)),
    *(Limit(database, DELAY, Figure.P50, 25.0) for database in DATABASES),
]

EVENTS = Workload(
    name="events",
    title="Events in and out",
    item="events",
    unit="event",
    scripts={
        Contender.OURS: "ours_events.py",
        Contender.FLOOR: "floor_events.py",
        Contender.EDDA_FRAMEWORK: "edda_framework_events.py",
    },
    sizes={
        # edda-framework answers before it has stored anything, so there is no such figure of it.
        STORED: {Contender.OURS: 6000, Contender.FLOOR: 6000},
        STARTED: {Contender.OURS: 3000, Contender.FLOOR: 6000, PEER: 200},
        BACKLOG: {Contender.OURS: 3000, Contender.FLOOR: 3000, PEER: 200},
        DELAY: {Contender.OURS: 100, Contender.FLOOR: 100, PEER: 10},
    },
    marks=MARKS,
    drawn=Figure.RATE,
    runs=2,
    # It waits for polls there as it does on the others.
    left_out=[Cell(Database.MYSQL, load, PEER) for load in LOADS],
)
