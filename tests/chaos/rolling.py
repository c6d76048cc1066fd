"""``python -m tests.chaos.rolling``: each of three workers is restarted under 1,000 running workflows.

Leases last for half an hour and more, so only what is handed back goes on. Exits with 1 if a step
was executed more than once.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from edda.clock import monotonic
from tests.support.cluster import Cluster, Start
from tests.support.databases import PRIVATE_SERVERS, ServerKind
from tests.support.reaper import Reaper
from tests.support.workers import Workers

WORKERS = 3
STEPS = 5
LONG: dict[str, Any] = {"leader_lease_duration": 3600}


@dataclass(frozen=True)
class Restarted:
    """Seconds that stopping took, and that each workflow waited for its next step beyond the step itself."""

    stops: list[float]
    pauses: list[float]
    repeated: int


async def restart_all(
    cluster: Cluster, *, runs: int, seconds: float, within: float, at_once: int = 100
) -> Restarted:
    """Restart one worker after the other while so many workflows run steps of so many seconds.

    A worker takes over at most ``at_once`` of what others hand back.
    """
    await cluster.storage()
    options = {**LONG, "max_concurrent_workflows": at_once}
    starts = [Start("five_steps", {"seconds": seconds}, len(range(n, runs, WORKERS))) for n in range(WORKERS)]
    workers = await asyncio.gather(*(cluster.worker(start, **options) for start in starts))
    await cluster.effects_reach(runs)
    stops = []
    for worker in workers:
        began = monotonic()
        code = await worker.terminate()
        stops.append(monotonic() - began)
        assert code == 0, worker.output
        await cluster.worker(**options)
    await cluster.all_end(runs, within=within)
    executions = Counter((effect.instance_id, effect.step) for effect in cluster.effects())
    return Restarted(stops, await _pauses(cluster, seconds), executions.total() - len(executions))


async def _pauses(cluster: Cluster, seconds: float) -> list[float]:
    times = defaultdict(list)
    for row in await cluster.history():
        times[row["instance_id"]].append(row["created_at"])
    return [
        (later - earlier).total_seconds() - seconds
        for recorded in times.values()
        for earlier, later in pairwise(sorted(recorded))
    ]


async def _run(kind: ServerKind, *, runs: int, seconds: float, at_once: int) -> bool:
    reaper = Reaper()
    workers = Workers(reaper)
    server = await PRIVATE_SERVERS[kind](reaper)
    with tempfile.TemporaryDirectory() as directory:
        cluster = Cluster(server.url_for(await server.create_database()), workers, Path(directory))
        try:
            found = await restart_all(cluster, runs=runs, seconds=seconds, within=600, at_once=at_once)
            await cluster.check_steps(STEPS)
        finally:
            await workers.close()
            await cluster.close()
            await server.close()
            reaper.close()
    stops = ", ".join(f"{each:.2f} s" for each in found.stops)
    pauses = sorted(found.pauses)
    print(f"{kind}: {runs} workflows of {STEPS} steps of {seconds} s, {found.repeated} steps executed again")
    print(f"  stopping took {stops}")
    print(
        f"  waiting for the next step beyond its own time: median {pauses[len(pauses) // 2]:.2f} s, "
        f"99 % {pauses[len(pauses) * 99 // 100]:.2f} s, longest {pauses[-1]:.2f} s",
        flush=True,
    )
    return found.repeated > 0


def main() -> int:
    """Run it on each chosen database; the exit code says whether a step was executed again."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.rolling", description=__doc__)
    parser.add_argument("--database", action="append", choices=PRIVATE_SERVERS, help="default: all of them")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each step takes")
    parser.add_argument("--at-once", type=int, default=1000, help="max_concurrent_workflows of each worker")
    arguments = parser.parse_args()
    found = [
        asyncio.run(_run(kind, runs=arguments.runs, seconds=arguments.seconds, at_once=arguments.at_once))
        for kind in arguments.database or [*PRIVATE_SERVERS]
    ]
    return int(any(found))


if __name__ == "__main__":
    sys.exit(main())
