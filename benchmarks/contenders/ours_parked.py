"""edda with many instances that wait: what they cost while nothing happens, and how fast some of them wake.

Twice as many as stay in memory are started in this process; the rows of one of them, under other
ids, are all others, as if processes that are gone had left them.
"""

# mypy: disable-error-code="import-not-found"
# (arrivals, closed_loop and multiply are found beside the script.)

from __future__ import annotations

import asyncio
import json
import logging
import random
import subprocess
import sys
import time
from pathlib import Path

import psutil
from arrivals import ARRIVALS
from closed_loop import percentile
from multiply import names_of
from sqlalchemy import event
from sqlalchemy.engine import Engine

from edda import EddaApp, WorkflowContext, publish, receive, subscribe, workflow

STARTS_AT_A_TIME = 100
ARRIVAL_LIMIT = 120.0


@workflow
async def wait(ctx: WorkflowContext) -> None:
    await subscribe(ctx, ctx.instance_id)
    message = await receive(ctx, ctx.instance_id)
    ARRIVALS.arrived(ctx.instance_id, message.data["sent"])


async def park(db_url: str, count: int) -> list[str]:
    """Let so many instances wait; returns their ids."""
    gate = asyncio.Semaphore(STARTS_AT_A_TIME)

    async def start() -> str:
        async with gate:
            return await wait.start()

    started = await asyncio.gather(*(start() for _ in range(min(count, 2 * EddaApp.resident_limit))))
    command = [sys.executable, str(Path(__file__).with_name("multiply.py")), db_url]
    copies = count - len(started)
    await asyncio.to_thread(subprocess.run, [*command, str(copies), started[0]], check=True)
    return [*started, *names_of(started[0], copies)]


async def idle_queries(seconds: float) -> float:
    """Statements per minute, while nothing happens for so long."""
    statements = 0

    def count(*_: object) -> None:
        nonlocal statements
        statements += 1

    event.listen(Engine, "before_cursor_execute", count)
    await asyncio.sleep(seconds)
    event.remove(Engine, "before_cursor_execute", count)
    return statements * 60 / seconds


async def wake(app: EddaApp, names: list[str]) -> list[str]:
    """Send each of them its message at once; returns what went wrong."""
    arrived = ARRIVALS.expect(names)
    await asyncio.gather(*(publish(app.storage, name, {"sent": time.monotonic()}) for name in names))
    try:
        await asyncio.wait_for(arrived, ARRIVAL_LIMIT)
    except TimeoutError:
        return [f"not woken within {ARRIVAL_LIMIT:.0f} s"] * (len(names) - len(ARRIVALS.latencies))
    return []


async def main() -> None:
    db_url, count, woken, idle = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    async with EddaApp(service_name="bench", db_url=db_url) as app:
        names = await park(db_url, count)
        queries = await idle_queries(idle)
        memory = psutil.Process().memory_info().rss
        dice = random.Random(count)  # the same share of them in every run
        began, cpu = time.perf_counter(), time.process_time()
        errors = await wake(app, dice.sample(names, min(woken, count)))
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    ordered = sorted(ARRIVALS.latencies.values())
    result = {
        "size": count,
        "completed": len(ordered),
        "per_second": len(ordered) / wall,
        "p50_ms": percentile(ordered, 0.5) * 1000,
        "p99_ms": percentile(ordered, 0.99) * 1000,
        "wall_seconds": wall,
        "cpu_seconds": cpu,
        "cpu_us_each": cpu / len(ordered) * 1e6 if ordered else 0.0,
        "errors": len(errors),
        "first_error": errors[0] if errors else None,
        "figures": {"MB": memory / 1e6, "queries/min": queries, "woken in s": wall},
    }
    print(json.dumps(result), flush=True)


logging.disable(logging.WARNING)
asyncio.run(main())
