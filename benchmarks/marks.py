"""What edda has to reach: ratios to other contenders, limits of its own figures, and what is to stay flat."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from benchmarks.cells import Contender, Database, Load


class Figure(StrEnum):
    """Figures that have a limit, with the names they have in the table."""

    RATE = "per second"
    P50 = "p50 ms"
    P99 = "p99 ms"
    GROWTH = "last/first"
    EACH = "us/step"
    MEMORY = "MB"
    QUERIES = "queries/min"
    COST = "cost"
    """Not in the table: the time of one item where there is a rate, else the p50."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """The least ratio to another contender."""

    database: Database
    load: Load
    against: Contender
    least: float

    def holds(self, value: float) -> bool:
        return value >= self.least

    def show(self, value: float) -> str:
        return f"{value:.0%}" if self.against is Contender.FLOOR else f"{value:,.1f}x"

    def __str__(self) -> str:
        return f"{self.database}, {self.load.name}, against {self.against}"

    @property
    def asked(self) -> str:
        return self.show(self.least)


@dataclass(frozen=True, slots=True)
class Limit:
    """The most that a figure may be."""

    database: Database
    load: Load
    figure: Figure
    most: float

    def holds(self, value: float) -> bool:
        return value <= self.most

    def show(self, value: float) -> str:
        return f"{value:,.2f}" if self.figure is Figure.GROWTH else f"{value:,.1f}"

    def __str__(self) -> str:
        return f"{self.database}, {self.load.name}, {self.figure}"

    @property
    def asked(self) -> str:
        return f"at most {self.show(self.most)}"


@dataclass(frozen=True, slots=True)
class Beside:
    """How much larger a figure may be than that of edda under another load, in the same round."""

    database: Database
    load: Load
    other: Load
    figure: Figure
    most: float

    def holds(self, value: float) -> bool:
        return value <= self.most

    def show(self, value: float) -> str:
        return f"{value:,.2f}x"

    def __str__(self) -> str:
        return f"{self.database}, {self.load.name}, {self.figure} beside {self.other.name}"

    @property
    def asked(self) -> str:
        return f"at most {self.show(self.most)}"


Mark = Ratio | Limit | Beside


def against(database: Database, load: Load, **least: float) -> list[Ratio]:
    """The least ratio to each of several contenders, by their names in ``Contender``."""
    return [Ratio(database, load, Contender[name], ratio) for name, ratio in least.items()]


@dataclass(frozen=True, slots=True)
class Judgement:
    """A mark and what was measured for it; None: there is no figure.

    However good it was, a run of edda with an error meets nothing.
    """

    mark: Mark
    reached: float | None
    errors: int = 0

    @property
    def met(self) -> bool:
        return self.reached is not None and self.mark.holds(self.reached) and not self.errors

    @property
    def verdict(self) -> str:
        if self.reached is None:
            return "not measured"
        return "met" if self.met else "missed"

    def __str__(self) -> str:
        if self.reached is None:
            return f"[{self.verdict}] {self.mark}: asked {self.mark.asked}"
        errors = f" with {self.errors} errors" if self.errors else ""
        return (
            f"[{self.verdict}] {self.mark}: {self.mark.show(self.reached)}{errors} (asked {self.mark.asked})"
        )
