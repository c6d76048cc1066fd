"""Replays one long history many times and prints what that cost as JSON.

Only the standard library is used, and syntax that every contender's interpreter knows:
each contender's script imports this file from beside itself, in its own environment.
"""

# mypy: disable-error-code="import-not-found"
# (closed_loop is found beside the script.)

from __future__ import annotations

import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from closed_loop import percentile


@dataclass(frozen=True)
class Arguments:
    """What the command line of a contender says: DB_URL STEPS TIMES."""

    db_url: str
    steps: int
    times: int

    @property
    def expected(self) -> int:
        """The sum that every replay has to come to."""
        return sum(range(self.steps))


def arguments() -> Arguments:
    db_url, steps, times = sys.argv[1:]
    return Arguments(db_url, int(steps), int(times))


async def measure(replay: Callable[[], Awaitable[tuple[float, int | None]]], args: Arguments) -> None:
    """Replay once to warm up and then ``args.times`` times; ``replay`` returns seconds and the sum."""
    await replay()
    wall, cpu = time.perf_counter(), time.process_time()
    replays = [await replay() for _ in range(args.times)]
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    ordered = sorted(seconds for seconds, total in replays if total == args.expected)
    wrong = [total for _, total in replays if total != args.expected]
    median = percentile(ordered, 0.5)
    result = {
        "size": args.steps,
        "completed": args.steps if ordered else 0,
        "per_second": args.steps / median if median else 0.0,
        "p50_ms": median * 1000,
        "p99_ms": percentile(ordered, 0.99) * 1000,
        "wall_seconds": wall,
        "cpu_seconds": cpu,
        "cpu_us_each": cpu / (args.steps * args.times) * 1e6,
        "errors": len(wrong),
        "first_error": f"a replay came to {wrong[0]} instead of {args.expected}" if wrong else None,
        "figures": {"us/step": median / args.steps * 1e6},
    }
    print(json.dumps(result), flush=True)
