from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.__main__ import WORKLOADS
from benchmarks.cells import Cell, Contender, Database
from benchmarks.measurement import CONTENDERS
from benchmarks.messages import ACROSS, BROADCAST, MESSAGES, POST, PUBLISH
from benchmarks.plan import Plan, Workload
from benchmarks.steps import ALONE, CROWD, STEPS

EACH = pytest.mark.parametrize("workload", [*WORKLOADS.values()], ids=[*WORKLOADS])


def test_contenders_that_are_compared_are_measured_one_after_another() -> None:
    plan = Plan(STEPS, databases=[Database.SQLITE], only=[CROWD.name], runs=2)
    order = [(run, cell.contender) for run, cell in plan.rounds()]
    assert order == [(run, contender) for run in (1, 2) for contender in Contender]


def test_the_peers_are_measured_in_the_first_rounds_only() -> None:
    plan = Plan(STEPS, databases=[Database.SQLITE], only=[CROWD.name], runs=3)
    rounds = [run for run, cell in plan.rounds() if cell.contender is Contender.DBOS]
    assert rounds == [1, 2] == [*range(1, STEPS.peer_runs + 1)]


def test_what_has_thousands_of_samples_is_measured_once() -> None:
    rounds = [(run, cell.load) for run, cell in Plan(MESSAGES, runs=2).rounds()]
    assert {load for run, load in rounds if run == 1} == {*MESSAGES.loads}
    assert {load for run, load in rounds if run == 2} == {PUBLISH}


@EACH
def test_dbos_is_not_planned_on_mysql_which_it_does_not_know(workload: Workload) -> None:
    cells = Plan(workload, databases=[Database.MYSQL]).cells()
    assert Contender.DBOS not in {cell.contender for cell in cells}


def test_what_a_contender_has_nothing_like_is_not_planned() -> None:
    cells = Plan(MESSAGES).cells()
    assert [cell.database for cell in cells if (cell.load, cell.contender) == (ACROSS, Contender.FLOOR)] == [
        Database.POSTGRESQL
    ]
    assert Contender.DBOS not in {cell.contender for cell in cells if cell.load in {POST, BROADCAST}}


def test_full_runs_have_at_least_as_many_workflows_as_clients() -> None:
    assert min(STEPS.sizes[CROWD].values()) >= 100


def test_quick_runs_are_a_fifth_and_an_explicit_number_wins() -> None:
    cell = Cell(Database.SQLITE, ALONE, Contender.DBOS)
    full = Plan(STEPS).size_of(cell)
    assert Plan(STEPS, quick=True).size_of(cell) == full // 5
    assert Plan(STEPS, quick=True, size=3).size_of(cell) == 3


@EACH
def test_a_run_is_complete_only_with_everything_at_full_size(workload: Workload) -> None:
    plan = Plan(workload, runs=workload.runs)
    assert plan.complete
    partial = [replace(plan, quick=True), replace(plan, runs=workload.runs - 1), replace(plan, size=5)]
    partial += [replace(plan, only=[load.name]) for load in workload.loads[1:]]
    partial += [replace(plan, databases=[Database.SQLITE]), replace(plan, contenders=[Contender.OURS])]
    assert not any(plan.complete for plan in partial)


@EACH
def test_every_contender_has_a_script(workload: Workload) -> None:
    assert set(workload.scripts) == {contender for sizes in workload.sizes.values() for contender in sizes}
    for script in workload.scripts.values():
        assert (CONTENDERS / script).is_file()


@EACH
def test_every_mark_is_about_something_that_is_measured(workload: Workload) -> None:
    planned = set(Plan(workload).cells())
    for mark in workload.marks:
        assert Cell(mark.database, mark.load, Contender.OURS) in planned
