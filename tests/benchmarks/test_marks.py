from __future__ import annotations

from benchmarks.cells import Contender, Database
from benchmarks.marks import Beside, Figure, Judgement, Limit, Ratio, against
from benchmarks.messages import PUBLISH, STREAM
from benchmarks.steps import ALONE, CROWD

FLOOR = Ratio(Database.SQLITE, CROWD, Contender.FLOOR, 0.4)
DBOS = Ratio(Database.SQLITE, CROWD, Contender.DBOS, 60.0)
LATENCY = Limit(Database.POSTGRESQL, PUBLISH, Figure.P50, 10.0)


def test_a_ratio_is_met_from_its_least_value_on() -> None:
    assert [Judgement(FLOOR, reached).met for reached in (0.4, 0.39, None)] == [True, False, False]


def test_a_limit_is_met_up_to_its_value() -> None:
    assert [Judgement(LATENCY, reached).met for reached in (10.0, 10.1, None)] == [True, False, False]


def test_a_mark_reached_with_errors_is_not_met() -> None:
    assert not Judgement(FLOOR, 0.9, errors=1).met


def test_a_judgement_tells_verdict_figure_and_what_was_asked() -> None:
    judged = [Judgement(FLOOR, 0.5), Judgement(FLOOR, 0.5, 2), Judgement(DBOS, 59.9), Judgement(DBOS, None)]
    assert [str(judgement) for judgement in judged] == [
        "[met] sqlite, 100 clients, against floor: 50% (asked 40%)",
        "[missed] sqlite, 100 clients, against floor: 50% with 2 errors (asked 40%)",
        "[missed] sqlite, 100 clients, against dbos: 59.9x (asked 60.0x)",
        "[not measured] sqlite, 100 clients, against dbos: asked 60.0x",
    ]


def test_limits_are_shown_with_the_name_of_their_column() -> None:
    growth = Limit(Database.SQLITE, STREAM, Figure.GROWTH, 1.25)
    assert str(Judgement(LATENCY, 3.06)) == "[met] postgresql, publish, p50 ms: 3.1 (asked at most 10.0)"
    assert str(Judgement(growth, 1.5)) == "[missed] sqlite, stream, last/first: 1.50 (asked at most 1.25)"


def test_what_is_to_stay_flat_is_shown_as_a_multiple() -> None:
    flat = Beside(Database.SQLITE, CROWD, ALONE, Figure.COST, 1.15)
    assert str(Judgement(flat, 1.2)) == (
        "[missed] sqlite, 100 clients, cost beside 1 client: 1.20x (asked at most 1.15x)"
    )
    assert [Judgement(flat, reached).verdict for reached in (1.15, None)] == ["met", "not measured"]


def test_several_ratios_are_named_by_their_contenders() -> None:
    assert against(Database.SQLITE, CROWD, DBOS=60.0, FLOOR=0.4) == [DBOS, FLOOR]
