"""Starts interpreters one after another, each of which tells how long something took, and prints JSON.

Only the standard library is used, and syntax that every contender's interpreter knows:
each contender's script imports this file from beside itself, in its own environment.
"""

# mypy: disable-error-code="import-not-found"
# (closed_loop is found beside the script.)

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from closed_loop import percentile


def measure(programs: Mapping[str, str]) -> None:
    """Run the program of the load once to warm up and then COUNT times: DB_URL COUNT LOAD.

    A program gets DB_URL as its argument and prints seconds. The first run compiles what it
    imports, and makes the database. What it compiled is kept, as it usually is, also where the
    caller's environment or a read-only installation would have every interpreter compile anew.
    """
    db_url, count, load = sys.argv[1:]
    command = [sys.executable, "-c", programs[load], db_url]
    _seconds(command)
    wall, cpu = time.perf_counter(), _cpu()
    ordered = sorted(_seconds(command) for _ in range(int(count)))
    wall, cpu = time.perf_counter() - wall, _cpu() - cpu
    result = {
        "size": int(count),
        "completed": len(ordered),
        "per_second": None,
        "p50_ms": percentile(ordered, 0.5) * 1000,
        "p99_ms": percentile(ordered, 0.99) * 1000,
        "wall_seconds": wall,
        "cpu_seconds": cpu,
        "cpu_us_each": cpu / int(count) * 1e6,
        "errors": 0,
        "first_error": None,
    }
    print(json.dumps(result), flush=True)


def _seconds(command: list[str]) -> float:
    return float(subprocess.run(command, env=_environment(), stdout=subprocess.PIPE, check=True).stdout)


def _environment() -> dict[str, str]:
    """Bytecode goes to the folder of the measurement, for all contenders alike."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPYCACHEPREFIX": str(Path("bytecode").resolve())}


def _cpu() -> float:
    """What the interpreters that have ended took, from their first instruction to their last."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
