"""Runs one kind of workflow from a fixed number of clients and prints what it cost as JSON.

Only the standard library is used, and syntax that every contender's interpreter knows:
each contender's script imports this file from beside itself, in its own environment.
"""

from __future__ import annotations

import asyncio
import json
import math
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Arguments:
    """What the command line of a contender says: DB_URL WORKFLOWS STEPS CONCURRENCY."""

    db_url: str
    workflows: int
    steps: int
    concurrency: int

    @property
    def expected(self) -> int:
        """The sum that every workflow has to return."""
        return sum(range(self.steps))


@dataclass
class Tally:
    """What the clients saw."""

    latencies: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def arguments() -> Arguments:
    db_url, workflows, steps, concurrency = sys.argv[1:]
    return Arguments(db_url, int(workflows), int(steps), int(concurrency))


async def measure(start: Callable[[], Awaitable[int | None]], args: Arguments) -> None:
    """Run ``start`` once to warm up and then ``args.workflows`` times; print the result."""
    await start()
    tally = Tally()
    tickets = iter(range(args.workflows))
    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(_client(start, args.expected, tickets, tally) for _ in range(args.concurrency)))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(json.dumps(_result(tally, args, wall=wall, cpu=cpu)), flush=True)


async def _client(
    start: Callable[[], Awaitable[int | None]], expected: int, tickets: Iterator[int], tally: Tally
) -> None:
    """One client: its next workflow starts when its last one has finished."""
    for _ in tickets:
        started = time.perf_counter()
        try:
            total = await start()
        except Exception as error:  # noqa: BLE001 - a contender's errors are counted, of whatever kind
            tally.errors.append(f"{type(error).__name__}: {error}")
            continue
        if total == expected:
            tally.latencies.append(time.perf_counter() - started)
        else:
            tally.errors.append(f"the workflow returned {total} instead of {expected}")


def _result(tally: Tally, args: Arguments, *, wall: float, cpu: float) -> dict[str, object]:
    ordered = sorted(tally.latencies)
    done = len(ordered)
    return {
        "workflows": args.workflows,
        "completed": done,
        "steps_per_second": done * args.steps / wall,
        "p50_ms": percentile(ordered, 0.50) * 1000,
        "p99_ms": percentile(ordered, 0.99) * 1000,
        "wall_seconds": wall,
        "cpu_seconds": cpu,
        "errors": len(tally.errors),
        "first_error": tally.errors[0].splitlines()[0] if tally.errors else None,
    }


def percentile(ordered: list[float], share: float) -> float:
    """The nearest-rank percentile of values in ascending order; 0.0 of none."""
    if not ordered:
        return 0.0
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1]
