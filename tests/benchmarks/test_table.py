from __future__ import annotations

from benchmarks import table
from benchmarks.measurement import Failure
from benchmarks.plan import ALONE, CROWD, Cell, Contender, Database
from benchmarks.summary import Judgement, Line, Mark

OURS = Cell(Database.SQLITE, CROWD, Contender.OURS)
DBOS = Cell(Database.SQLITE, ALONE, Contender.DBOS)


def line(**changes: object) -> Line:
    values: dict[str, object] = {
        "cell": OURS,
        "workflows": 2000,
        "runs": 3,
        "steps_per_second": 12345.6,
        "slowest": 12000.0,
        "fastest": 13000.0,
        "p50_ms": 81.04,
        "p99_ms": 1234.5,
        "cpu_seconds": 1.5,
        "cpu_us_per_step": 75.0,
        "errors": 0,
        "first_error": None,
        "ratios": {Contender.FLOOR: 0.5, Contender.DBOS: 61.25},
    }
    return Line(**(values | changes))  # type: ignore[arg-type]


def test_a_row_has_a_cell_for_every_column() -> None:
    (row,) = table.rows([line()])
    assert dict(zip(table.HEADER, row, strict=True)) == {
        "database": "sqlite",
        "clients": "100",
        "contender": "edda",
        "workflows": "2000",
        "runs": "3",
        "steps/s": "12,346",
        "slowest-fastest": "12,000-13,000",
        "p50 ms": "81.0",
        "p99 ms": "1,234.5",
        "CPU s": "1.50",
        "CPU us/step": "75",
        "errors": "0",
        "x edda-framework": "-",
        "x dbos": "61.2",
        "of the floor": "50.0%",
    }


def test_a_contender_without_figures_has_a_row_of_dashes_and_a_remark() -> None:
    lines: list[Line | tuple[Cell, Failure]] = [(DBOS, Failure("not installed: no index"))]
    (row,) = table.rows(lines)
    assert row[:3] == ("sqlite", "1", "dbos")
    assert set(row[3:]) == {"-"}
    assert table.remarks(lines) == ["dbos on sqlite with 1 clients: not installed: no index"]


def test_names_start_and_numbers_end_in_one_column_and_groups_stand_apart() -> None:
    text = table.as_text(table.rows([line(), line(workflows=5), (DBOS, Failure("x"))])).splitlines()
    header, _, first, second, gap, _ = text
    assert gap == ""
    assert header.index("contender") == first.index("edda") == second.index("edda")
    end = header.index("workflows") + len("workflows")
    assert first[:end].endswith(" 2000")
    assert second[:end].endswith(" 5")


def test_markdown_has_a_rule_below_the_header_and_as_many_cells_in_each_line() -> None:
    header, rule, row = table.as_markdown(table.rows([line()])).splitlines()
    assert set(rule) == set("|-: ")
    assert header.count("|") == rule.count("|") == row.count("|") == len(table.HEADER) + 1


def test_a_mark_tells_verdict_ratio_and_what_was_asked() -> None:
    floor = Mark(Database.SQLITE, CROWD, Contender.FLOOR, 0.4)
    dbos = Mark(Database.SQLITE, CROWD, Contender.DBOS, 60.0)
    judged = [Judgement(floor, 0.5), Judgement(floor, 0.5, 2), Judgement(dbos, 59.9), Judgement(dbos, None)]
    assert table.marks(judged) == [
        "[met] sqlite, 100 at a time, against floor: 50% (asked 40%)",
        "[missed] sqlite, 100 at a time, against floor: 50% with 2 errors (asked 40%)",
        "[missed] sqlite, 100 at a time, against dbos: 59.9x (asked 60.0x)",
        "[not measured] sqlite, 100 at a time, against dbos: asked 60.0x",
    ]


def test_errors_are_remarked_with_the_first_of_them() -> None:
    assert table.remarks([line(errors=2, first_error="Boom"), line()]) == [
        "edda on sqlite with 100 clients: 2 errors, first: Boom"
    ]
