from __future__ import annotations

from benchmarks import table
from benchmarks.cells import Cell, Contender, Database
from benchmarks.measurement import Failure
from benchmarks.messages import MESSAGES, PUBLISH
from benchmarks.steps import ALONE, CROWD, STEPS
from benchmarks.summary import Line

OURS = Cell(Database.SQLITE, CROWD, Contender.OURS)
DBOS = Cell(Database.SQLITE, ALONE, Contender.DBOS)


def line(**changes: object) -> Line:
    values: dict[str, object] = {
        "cell": OURS,
        "size": 2000,
        "runs": 3,
        "per_second": 12345.6,
        "slowest": 12000.0,
        "fastest": 13000.0,
        "p50_ms": 81.04,
        "p99_ms": 1234.5,
        "figures": {},
        "cpu_seconds": 1.5,
        "cpu_us_each": 75.0,
        "errors": 0,
        "first_error": None,
        "ratios": {Contender.FLOOR: 0.5, Contender.DBOS: 61.25},
    }
    return Line(**(values | changes))  # type: ignore[arg-type]


def test_a_row_has_a_cell_for_every_column() -> None:
    names, row = table.rows(STEPS, [line()])
    assert dict(zip(names, row, strict=True)) == {
        "database": "sqlite",
        "load": "100 clients",
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
    names, row = table.rows(STEPS, lines)
    assert len(row) == len(names)
    assert row[:3] == ("sqlite", "1 client", "dbos")
    assert set(row[3:]) == {"-"}
    assert table.remarks(lines) == ["dbos on sqlite, 1 client: not installed: no index"]


def test_names_start_and_numbers_end_in_one_column_and_groups_stand_apart() -> None:
    text = table.as_text(table.rows(STEPS, [line(), line(size=5), (DBOS, Failure("x"))])).splitlines()
    header, _, first, second, gap, _ = text
    assert gap == ""
    assert header.index("contender") == first.index("edda") == second.index("edda")
    end = header.index("workflows") + len("workflows")
    assert first[:end].endswith(" 2000")
    assert second[:end].endswith(" 5")


def test_markdown_has_a_rule_below_the_header_and_as_many_cells_in_each_line() -> None:
    header, rule, row = table.as_markdown(table.rows(STEPS, [line()])).splitlines()
    assert set(rule) == set("|-: ")
    assert header.count("|") == rule.count("|") == row.count("|") == 16


def test_a_load_without_a_rate_shows_the_spread_of_its_latency_and_the_growth_if_there_is_any() -> None:
    cell = Cell(Database.SQLITE, PUBLISH, Contender.OURS)
    names, row = table.rows(
        MESSAGES,
        [
            line(
                cell=cell,
                per_second=None,
                slowest=4.06,
                fastest=2.0,
                p50_ms=3.0,
                figures={"last/first": 1.041},
            )
        ],
    )
    shown = dict(zip(names, row, strict=True))
    assert (shown["waits"], shown["waits/s"], shown["slowest-fastest"]) == ("2000", "-", "4.1-2.0")
    assert shown["last/first"] == "1.04"


def test_errors_are_remarked_with_the_first_of_them() -> None:
    assert table.remarks([line(errors=2, first_error="Boom"), line()]) == [
        "edda on sqlite, 100 clients: 2 errors, first: Boom"
    ]
