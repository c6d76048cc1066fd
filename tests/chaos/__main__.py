"""``python -m tests.chaos``: the long form of the chaos suite, on private database servers."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from tests.chaos.storm import Plan, brewing
from tests.chaos.table import lines_of
from tests.support.databases import PRIVATE_SERVERS, ServerKind
from tests.support.reaper import Reaper
from tests.support.workers import Workers


def main() -> int:
    """Run the storm on each chosen database; the exit code says whether anything was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--database", action="append", choices=PRIVATE_SERVERS, help="default: all of them")
    parser.add_argument("--orders", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=180.0, help="for how long faults are injected")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", help="part of the name of a fault; default: all faults")
    parser.add_argument("--logs", type=Path, help="a directory for what the workers say")
    arguments = parser.parse_args()
    only = tuple(arguments.only or ())
    plan = Plan(arguments.orders, arguments.seconds, seed=arguments.seed, only=only)
    found = [
        asyncio.run(_run(kind, plan, arguments.logs)) for kind in arguments.database or [*PRIVATE_SERVERS]
    ]
    return int(any(found))


async def _run(kind: ServerKind, plan: Plan, logs: Path | None) -> bool:
    reaper = Reaper()
    workers = Workers(reaper)
    server = await PRIVATE_SERVERS[kind](reaper)
    try:
        async with brewing(plan, server, workers) as storm:
            report = await storm.rage()
            if logs is not None:
                _write_logs(logs, kind, storm.fleet.outputs)
    finally:
        await workers.close()
        await server.close()
        reaper.close()
    print("\n".join(lines_of(report, kind)), end="\n\n", flush=True)
    return bool(report.findings)


def _write_logs(directory: Path, kind: ServerKind, outputs: object) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{kind}.log").write_text("\n".join(map(str, outputs)))  # type: ignore[call-overload]


if __name__ == "__main__":
    sys.exit(main())
