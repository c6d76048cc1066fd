"""The step workload: durable steps per second, and what edda has to reach."""

from __future__ import annotations

from benchmarks.cells import Cell, Contender, Database, Load
from benchmarks.marks import Figure, Mark, against
from benchmarks.plan import PEERS, Workload

STEPS_OF_A_WORKFLOW = "10"
# So many clients, each of which starts its next workflow when its last one has finished.
CROWD = Load("100 clients", (STEPS_OF_A_WORKFLOW, "100"))
ALONE = Load("1 client", (STEPS_OF_A_WORKFLOW, "1"))
# How many workflows start and end per second.
SHORT = Load("100 clients, 1 step", ("1", "100"))

LOADS = (CROWD, ALONE, SHORT)

MARKS: list[Mark] = [
    *against(Database.SQLITE, CROWD, EDDA_FRAMEWORK=100, DBOS=60, FLOOR=0.4),
    *against(Database.SQLITE, ALONE, EDDA_FRAMEWORK=8, DBOS=8, FLOOR=0.6),
    *against(Database.POSTGRESQL, CROWD, EDDA_FRAMEWORK=60, DBOS=60, FLOOR=0.5),
    *against(Database.POSTGRESQL, ALONE, EDDA_FRAMEWORK=8, DBOS=8, FLOOR=0.6),
    *against(Database.MYSQL, CROWD, FLOOR=0.4),
    *against(Database.SQLITE, SHORT, EDDA_FRAMEWORK=60, DBOS=60),
    *against(Database.POSTGRESQL, SHORT, EDDA_FRAMEWORK=60, DBOS=60),
]

STEPS = Workload(
    name="steps",
    title="Steps",
    item="workflows",
    unit="step",
    scripts={
        Contender.OURS: "ours.py",
        Contender.FLOOR: "floor.py",
        Contender.EDDA_FRAMEWORK: "edda_framework.py",
        Contender.DBOS: "dbos_transact.py",
    },
    # The floor and edda do in a second what the others do in minutes. At 100 concurrent each
    # contender gets at least 100 workflows, so that 100 of them really run at the same time.
    sizes={
        CROWD: {
            Contender.OURS: 2000,
            Contender.FLOOR: 2000,
            Contender.EDDA_FRAMEWORK: 100,
            Contender.DBOS: 100,
        },
        ALONE: {
            Contender.OURS: 150,
            Contender.FLOOR: 150,
            Contender.EDDA_FRAMEWORK: 10,
            Contender.DBOS: 10,
        },
        SHORT: {
            Contender.OURS: 10_000,
            Contender.FLOOR: 10_000,
            Contender.EDDA_FRAMEWORK: 200,
            Contender.DBOS: 200,
        },
    },
    marks=MARKS,
    drawn=Figure.RATE,
    left_out=[Cell(Database.MYSQL, load, peer) for load in LOADS for peer in PEERS],
    peer_runs=2,
)
