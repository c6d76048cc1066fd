"""The workload of a replay: a long history, read and run through again."""

from __future__ import annotations

from benchmarks.cells import Cell, Contender, Database, Load
from benchmarks.marks import Figure, Limit, Mark
from benchmarks.plan import Workload

# So many times the same history is replayed in one measurement.
REPLAY = Load("replay", ("20",))

MARKS: list[Mark] = [
    Limit(database, REPLAY, Figure.EACH, 30.0) for database in (Database.SQLITE, Database.POSTGRESQL)
]

REPLAYS = Workload(
    name="replay",
    title="Replay of a long history",
    item="steps",
    unit="step",
    scripts={
        Contender.OURS: "ours_replay.py",
        Contender.FLOOR: "floor_replay.py",
        Contender.EDDA_FRAMEWORK: "edda_framework_replay.py",
        Contender.DBOS: "dbos_replay.py",
    },
    # The peers take minutes to write a history of 10,000 steps.
    sizes={
        REPLAY: {
            Contender.OURS: 10_000,
            Contender.FLOOR: 10_000,
            Contender.EDDA_FRAMEWORK: 300,
            Contender.DBOS: 300,
        }
    },
    marks=MARKS,
    drawn=Figure.EACH,
    runs=2,
    left_out=[Cell(Database.MYSQL, REPLAY, contender) for contender in Contender],
)
