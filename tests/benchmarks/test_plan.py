from __future__ import annotations

from benchmarks.plan import ALONE, CROWD, WORKFLOWS, Cell, Contender, Database, Load, Plan


def test_contenders_that_are_compared_are_measured_one_after_another() -> None:
    plan = Plan(databases=[Database.SQLITE], loads=[CROWD], runs=2)
    order = [(run, cell.contender) for run, cell in plan.rounds()]
    assert order == [(run, contender) for run in (1, 2) for contender in Contender]


def test_dbos_is_not_planned_on_mysql_which_it_does_not_know() -> None:
    cells = Plan(databases=[Database.MYSQL]).cells()
    assert Contender.DBOS not in {cell.contender for cell in cells}
    assert Contender.EDDA_FRAMEWORK in {cell.contender for cell in cells}


def test_full_runs_have_at_least_as_many_workflows_as_clients() -> None:
    for load, sizes in WORKFLOWS.items():
        assert min(sizes.values()) >= load.concurrency


def test_quick_runs_are_a_fifth_and_an_explicit_number_wins() -> None:
    cell = Cell(Database.SQLITE, ALONE, Contender.DBOS)
    full = Plan().size(cell)
    assert Plan(quick=True).size(cell) == full // 5
    assert Plan(quick=True, workflows=3).size(cell) == 3


def test_a_run_is_complete_only_with_everything_at_full_size() -> None:
    assert Plan().complete
    partial = [Plan(quick=True), Plan(runs=2), Plan(workflows=5), Plan(loads=[CROWD])]
    partial += [Plan(databases=[Database.SQLITE]), Plan(contenders=[Contender.OURS])]
    assert not any(plan.complete for plan in partial)


def test_loads_differ_by_their_figures() -> None:
    assert Load(100) == CROWD
    assert Load(1) == ALONE
