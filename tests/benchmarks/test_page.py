from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from benchmarks.__main__ import WORKLOADS
from benchmarks.cells import Cell, Contender, Database
from benchmarks.kept import Kept
from benchmarks.measurement import Measurement
from benchmarks.messages import MESSAGES, PUBLISH
from benchmarks.page import REASONS, Page, compose, texts
from benchmarks.plots import _decades, draw
from benchmarks.steps import CROWD, STEPS

FIGURES = Measurement(4, 4, 4000.0, 1.0, 2.0, 1.0, 0.5, 10.0, 0, None)
RUN = Kept(
    STEPS,
    {
        Cell(Database.SQLITE, CROWD, Contender.OURS): [FIGURES],
        Cell(Database.SQLITE, CROWD, Contender.FLOOR): [replace(FIGURES, per_second=12_000.0)],
    },
    ["load average when the program began: 0.10"],
)
PAGE = Page([STEPS, MESSAGES], {"steps": RUN}, {"steps": "The disk is slow."})


def test_a_text_stands_below_the_name_of_its_workload() -> None:
    assert texts("# Head\n\nfor authors\n\n## steps\n\none\n\ntwo\n\n## events\n\nthree\n") == {
        "steps": "one\n\ntwo",
        "events": "three",
    }


def test_the_reasons_are_those_of_workloads() -> None:
    assert {*texts(REASONS.read_text())} <= {*WORKLOADS}


def test_the_page_shows_marks_table_plot_reasons_and_surroundings(tmp_path: Path) -> None:
    page = PAGE.write(tmp_path).read_text()
    assert "| [steps](#steps) | sqlite, 100 clients, against floor | 33% | 40% | missed |\n" in page
    assert "0 of 3 are met." in page
    assert "| sqlite | 100 clients | edda | 4 | 1 | 4,000 |" in page
    assert "![Steps](benchmarks/steps.svg)" in page
    assert "**About the marks**\n\nThe disk is slow.\n" in page
    assert "* load average when the program began: 0.10" in page


def test_a_workload_without_a_complete_run_says_so(tmp_path: Path) -> None:
    page = PAGE.write(tmp_path).read_text()
    assert "## Messages, events and timers" in page
    assert page.count("There is no complete run of this workload yet.") == 1
    assert not (tmp_path / "benchmarks" / "messages.svg").exists()


def test_missed_marks_without_a_reason_are_told() -> None:
    assert PAGE.unexplained() == []
    assert replace(PAGE, reasons={}).unexplained() == ["steps"]


def test_the_same_results_give_the_same_page(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        PAGE.write(folder)
    for name in ("benchmarks.md", "benchmarks/steps.svg"):
        assert (first / name).read_text() == (second / name).read_text()


def test_what_was_never_run_has_no_marks(tmp_path: Path) -> None:
    page = compose([STEPS], results=tmp_path)
    assert (page.runs, page.unexplained()) == ({}, [])
    assert "There is no complete run yet." in page.write(tmp_path).read_text()


def test_a_plot_names_everybody_who_is_in_it(tmp_path: Path) -> None:
    path = draw(STEPS, RUN.results, tmp_path)
    assert path is not None
    letters = path.read_text()
    for word in (">100 clients, sqlite<", ">edda<", ">floor<", ">steps/s (logarithmic)<"):
        assert word in letters
    assert ">dbos<" not in letters
    assert len(letters) < 50_000


def test_the_scale_of_a_plot_begins_and_ends_with_a_power_of_ten() -> None:
    assert _decades([1300.0, 1350.0]) == (100.0, 10_000.0)
    assert _decades([20.0, 4000.0]) == (10.0, 10_000.0)


def test_without_the_figure_there_is_no_plot(tmp_path: Path) -> None:
    cell = Cell(Database.SQLITE, PUBLISH, Contender.OURS)
    assert draw(STEPS, {cell: [replace(FIGURES, per_second=None)]}, tmp_path) is None
