"""The message workload: from what wakes a workflow to its resumed line, and what edda has to reach."""

from __future__ import annotations

from benchmarks.cells import Cell, Contender, Database, Load
from benchmarks.marks import Figure, Limit, Mark, against
from benchmarks.plan import PEERS, Workload

# The second argument: seconds within which a contender certainly starts all workflows of the load.
PUBLISH = Load("publish", ("publish", "0"))
ACROSS = Load("publish, two processes", ("across", "0"))
POST = Load("POST", ("post", "0"))
BROADCAST = Load("broadcast", ("broadcast", "0"))
TIMERS = Load("timers", ("timers", "20"))
STREAM = Load("stream", ("stream", "0"))

LOADS = (PUBLISH, ACROSS, POST, BROADCAST, TIMERS, STREAM)

MANY = 10_000
# Enough for a tenth at either end to have hundreds of messages.
LONG = 3000
POLLING = {Contender.EDDA_FRAMEWORK: 10, Contender.DBOS: 50}

MARKS: list[Mark] = [
    *(
        Limit(database, load, figure, most)
        for database in (Database.SQLITE, Database.POSTGRESQL)
        for load in (PUBLISH, POST)
        for figure, most in ((Figure.P50, 10.0), (Figure.P99, 50.0))
    ),
    Limit(Database.POSTGRESQL, ACROSS, Figure.P50, 10.0),
    Limit(Database.POSTGRESQL, ACROSS, Figure.P99, 50.0),
    *against(Database.SQLITE, BROADCAST, EDDA_FRAMEWORK=100),
    *against(Database.POSTGRESQL, BROADCAST, EDDA_FRAMEWORK=100),
    *(Limit(database, STREAM, Figure.GROWTH, 1.25) for database in Database),
]

MESSAGES = Workload(
    name="messages",
    title="Messages, events and timers",
    item="waits",
    unit="wait",
    scripts={
        Contender.OURS: "ours_messages.py",
        Contender.FLOOR: "floor_messages.py",
        Contender.EDDA_FRAMEWORK: "edda_framework_messages.py",
        Contender.DBOS: "dbos_messages.py",
    },
    # A message that waits for a poll takes seconds, and 10,000 of them would take hours.
    sizes={
        PUBLISH: {Contender.OURS: 200, Contender.FLOOR: 200, **POLLING},
        ACROSS: {Contender.OURS: 200, Contender.FLOOR: 200, **POLLING},
        POST: {Contender.OURS: 200, Contender.EDDA_FRAMEWORK: 10},
        BROADCAST: {Contender.OURS: MANY, Contender.FLOOR: 2000, Contender.EDDA_FRAMEWORK: 50},
        TIMERS: {
            Contender.OURS: MANY,
            Contender.FLOOR: 2000,
            Contender.EDDA_FRAMEWORK: 50,
            Contender.DBOS: 100,
        },
        STREAM: {
            Contender.OURS: LONG,
            Contender.FLOOR: 500,
            Contender.EDDA_FRAMEWORK: 2,
            Contender.DBOS: 10,
        },
    },
    marks=MARKS,
    drawn=Figure.P50,
    runs=2,
    once=(ACROSS, POST, BROADCAST, TIMERS, STREAM),
    left_out=[
        # DBOS does not know MySQL; edda-framework waits for polls there as it does on PostgreSQL.
        *(Cell(Database.MYSQL, load, peer) for load in LOADS for peer in PEERS),
        *(Cell(Database.SQLITE, load, Contender.EDDA_FRAMEWORK) for load in (ACROSS, TIMERS, STREAM)),
        # Nothing but a poll leads from one process to another there.
        *(Cell(database, ACROSS, Contender.FLOOR) for database in (Database.SQLITE, Database.MYSQL)),
    ],
)
