"""``python -m benchmarks``: measure the step workload and print one table."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.databases import Databases
from benchmarks.environments import Environment, NotInstalledError, environment
from benchmarks.measurement import Failure, Measurement, measure
from benchmarks.plan import ENOUGH_RUNS, Cell, Contender, Database, Plan
from benchmarks.report import FOLDER, Report, Surroundings
from tests.support.reaper import Reaper
from tests.support.server import ServerUnavailableError

Tools = dict[Contender, Environment | Failure]


def main(argv: Sequence[str] | None = None) -> None:
    options = parse_options(argv)
    reaper = Reaper()
    try:
        report = asyncio.run(bench(plan_of(options), reaper, options.directory, install=options.install))
    finally:
        reaper.close()
    print(f"\n{report.text()}\n")
    for path in report.write(options.results):
        print(f"written: {path}")


def parse_options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Durable steps per second.")
    add = parser.add_argument
    add("--quick", action="store_true", help="one round of a fifth of the workflows: an indication only")
    add("--only", action="append", choices=[*Database], help="this database; may be repeated")
    add("--contender", action="append", choices=[*Contender], help="this contender; may be repeated")
    add("--runs", type=positive, help="rounds to take the median of (default: 3)")
    add("--workflows", type=positive, help="so many workflows for every contender")
    add("--no-install", dest="install", action="store_false", help="leave out peers that are not installed")
    add("--directory", type=Path, help="where the SQLite files go (default: the system's temporary folder)")
    add(
        "--results",
        type=Path,
        default=FOLDER,
        help="where the files go (default: %(default)s)",
    )
    return parser.parse_args(argv)


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return number


def plan_of(options: argparse.Namespace) -> Plan:
    return Plan(
        databases=[Database(name) for name in options.only or Database],
        contenders=[Contender(name) for name in options.contender or Contender],
        runs=options.runs or (1 if options.quick else ENOUGH_RUNS),
        workflows=options.workflows,
        quick=options.quick,
    )


async def bench(plan: Plan, reaper: Reaper, directory: Path | None, *, install: bool) -> Report:
    """Measure everything that is planned; what cannot be measured keeps its reason."""
    databases = Databases(reaper, directory)
    load, _, _ = os.getloadavg()
    try:
        tools = {contender: await prepare(contender, install=install) for contender in plan.contenders}
        settings, missing = await describe(plan, databases)
        results: dict[Cell, list[Measurement | Failure]] = {cell: [] for cell in plan.cells()}
        total = plan.runs * len(results)
        for number, (run, cell) in enumerate(plan.rounds(), start=1):
            where = f"{cell.database}, {cell.load.concurrency} at a time, {cell.contender}"
            show(f"[{number:2}/{total}] run {run}: {where} ({plan.size(cell)} workflows) ... ")
            result = missing.get(cell.database) or await measure_cell(plan, cell, tools, databases)
            show(outcome(result) + "\n")
            results[cell].append(result)
    finally:
        await databases.close()
    versions = {name: tool.versions for name, tool in tools.items() if isinstance(tool, Environment)}
    return Report(plan, results, Surroundings(settings, versions, load))


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


async def measure_cell(plan: Plan, cell: Cell, tools: Tools, databases: Databases) -> Measurement | Failure:
    tool = tools[cell.contender]
    if isinstance(tool, Failure):
        return tool
    async with databases.fresh(cell.database) as url:
        return await measure(cell, python=tool.python, url=url, workflows=plan.size(cell))


def outcome(result: Measurement | Failure) -> str:
    if isinstance(result, Failure):
        return result.reason
    errors = f", {result.errors} errors" if result.errors else ""
    return f"{result.steps_per_second:,.0f} steps/s in {result.wall_seconds:.1f} s{errors}"


def show(progress: str) -> None:
    """Progress goes to the error stream, so that the table alone can be piped away."""
    sys.stderr.write(progress)
    sys.stderr.flush()


if __name__ == "__main__":
    main()
