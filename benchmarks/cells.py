"""Who is measured, where, and under which load."""

from __future__ import annotations

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
    """What a contender's script is asked to do; ``arguments`` follow URL and size on its command line."""

    name: str
    arguments: tuple[str, ...]
    finished: int = 0
    """So many instances of the workload's workflow have finished in the database before; 0: it is empty."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One line of the table: a contender on a database under a load."""

    database: Database
    load: Load
    contender: Contender
