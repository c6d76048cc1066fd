"""``python -m benchmarks``: measure the workloads and print a table of each."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.cells import Cell, Contender, Database
from benchmarks.databases import Databases
from benchmarks.environments import Environment, NotInstalledError, environment
from benchmarks.events import EVENTS
from benchmarks.filling import Filled
from benchmarks.finished import FINISHED
from benchmarks.measurement import Failure, Measurement, measure
from benchmarks.messages import MESSAGES
from benchmarks.page import DOCS, compose
from benchmarks.parked import PARKED
from benchmarks.plan import Plan, Workload
from benchmarks.processes import PROCESSES
from benchmarks.replay import REPLAYS
from benchmarks.report import FOLDER, Quiet, Report, Surroundings, look
from benchmarks.startup import STARTUP
from benchmarks.steps import STEPS
from tests.support.reaper import Reaper
from tests.support.server import ServerUnavailableError

WORKLOADS = {
    workload.name: workload
    for workload in (STEPS, MESSAGES, EVENTS, REPLAYS, PARKED, FINISHED, PROCESSES, STARTUP)
}
Tools = dict[Contender, Environment | Failure]


def main(argv: Sequence[str] | None = None) -> None:
    options = parse_options(argv)
    load, _, _ = os.getloadavg()  # once: later it tells of the measurements themselves
    plans = [plan_of(WORKLOADS[name], options) for name in options.workload or WORKLOADS]
    changed = [run(plan, options, load) for plan in plans if plan.cells() and not options.page]
    if options.page or any(changed):
        publish(options)


def run(plan: Plan, options: argparse.Namespace, load: float) -> bool:
    """Measure a workload; returns whether its part of the page changes."""
    reaper = Reaper()
    try:
        report = asyncio.run(bench(plan, reaper, options.directory, look(load), install=options.install))
    finally:
        reaper.close()
    report = replace(report, accept_busy=options.accept_busy)
    print(f"\n{report.text()}\n\nwritten: {report.write(options.results)}", flush=True)
    return report.presentable


def publish(options: argparse.Namespace) -> None:
    """Write the page from what complete runs have left."""
    page = compose([*WORKLOADS.values()], results=options.results)
    for name in page.unexplained():
        show(f"benchmarks/reasons.md does not say why marks of {name} are missed\n")
    print(f"written: {page.write(options.docs)}")


def parse_options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="What edda does per second, how long it takes and what it costs, beside others.",
    )
    add = parser.add_argument
    add("workload", nargs="*", type=known, help=f"{', '.join(WORKLOADS)} (default: all)")
    add("--quick", action="store_true", help="one round of a fifth of the size: an indication only")
    add("--only", action="append", choices=[*Database], help="this database; may be repeated")
    add("--contender", action="append", choices=[*Contender], help="this contender; may be repeated")
    loads = [load.name for workload in WORKLOADS.values() for load in workload.loads]
    add("--load", action="append", choices=loads, help="this load; may be repeated")
    add(
        "--runs",
        type=positive,
        help="rounds to take the median of (default: 2, 3 or 5, by their length)",
    )
    add("--size", type=positive, help="so many workflows or messages for every contender")
    add("--no-install", dest="install", action="store_false", help="leave out peers that are not installed")
    add(
        "--page", action="store_true", help="measure nothing; compose the page from the results that are kept"
    )
    add("--accept-busy", action="store_true", help="write the page although others use the machine")
    add("--directory", type=Path, help="where the SQLite files go (default: the system's temporary folder)")
    add(
        "--results",
        type=Path,
        default=FOLDER,
        help="where the files go (default: %(default)s)",
    )
    add("--docs", type=Path, default=DOCS, help="where the page goes (default: %(default)s)")
    return parser.parse_args(argv)


def known(name: str) -> str:
    if name not in WORKLOADS:
        raise argparse.ArgumentTypeError(f"{name} is none of {', '.join(WORKLOADS)}")
    return name


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return number


def plan_of(workload: Workload, options: argparse.Namespace) -> Plan:
    return Plan(
        workload,
        databases=[Database(name) for name in options.only or Database],
        contenders=[Contender(name) for name in options.contender or Contender],
        only=options.load or (),
        runs=options.runs or (1 if options.quick else workload.runs),
        size=options.size,
        quick=options.quick,
    )


async def bench(plan: Plan, reaper: Reaper, directory: Path | None, quiet: Quiet, *, install: bool) -> Report:
    """Measure everything that is planned; what cannot be measured keeps its reason."""
    databases = Databases(reaper, directory)
    filled = Filled(databases)
    try:
        tools = {contender: await prepare(contender, install=install) for contender in plan.contenders}
        settings, missing = await describe(plan, databases)
        results: dict[Cell, list[Measurement | Failure]] = {cell: [] for cell in plan.cells()}
        rounds = [*plan.rounds()]
        for number, (run, cell) in enumerate(rounds, start=1):
            where = f"{cell.database}, {cell.load.name}, {cell.contender}"
            show(
                f"[{number:2}/{len(rounds)}] run {run}: {where} ({plan.size_of(cell)} {plan.workload.item}) "
            )
            result = missing.get(cell.database) or await measure_cell(plan, cell, tools, filled)
            show(outcome(plan.workload, result) + "\n")
            results[cell].append(result)
    finally:
        await databases.close()
    versions = {name: tool.versions for name, tool in tools.items() if isinstance(tool, Environment)}
    return Report(plan, results, Surroundings(settings, versions, quiet))


async def prepare(contender: Contender, *, install: bool) -> Environment | Failure:
    show(f"preparing {contender} ... ")
    try:
        prepared = await environment(contender, install=install)
    except NotInstalledError as error:
        show(f"not installed: {error}\n")
        return Failure(f"not installed: {error}")
    show("ready\n")
    return prepared


async def describe(
    plan: Plan, databases: Databases
) -> tuple[dict[Database, dict[str, str]], dict[Database, Failure]]:
    """The settings of the databases that are there, and the reasons of those that are not."""
    settings, missing = {}, {}
    for database in plan.databases:
        try:
            settings[database] = await databases.describe(database)
        except ServerUnavailableError as error:
            missing[database] = Failure(str(error))
    return settings, missing


async def measure_cell(plan: Plan, cell: Cell, tools: Tools, filled: Filled) -> Measurement | Failure:
    tool = tools[cell.contender]
    if isinstance(tool, Failure):
        return tool
    script = plan.workload.scripts[cell.contender]
    async with filled.database(cell, script, tool.python) as url:
        if isinstance(url, Failure):
            return url
        return await measure(cell, script, python=tool.python, url=url, size=plan.size_of(cell))


def outcome(workload: Workload, result: Measurement | Failure) -> str:
    if isinstance(result, Failure):
        return result.reason
    errors = f", {result.errors} errors" if result.errors else ""
    pace = "" if result.per_second is None else f"{result.per_second:,.0f} {workload.unit}s/s, "
    return f"{pace}p50 {result.p50_ms:,.1f} ms, in {result.wall_seconds:.1f} s{errors}"


def show(progress: str) -> None:
    """Progress goes to the error stream, so that the table alone can be piped away."""
    sys.stderr.write(progress)
    sys.stderr.flush()


if __name__ == "__main__":
    main()
