"""One measurement: a contender in a process of its own, and what it printed."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.plan import Cell, Contender, Database

HERE = Path(__file__).parent
TIME_LIMIT = 300.0
SCRIPTS = {
    Contender.OURS: "ours.py",
    Contender.FLOOR: "floor.py",
    Contender.EDDA_FRAMEWORK: "edda_framework.py",
    Contender.DBOS: "dbos_transact.py",
}
ASYNC_DRIVERS = {
    Database.SQLITE: "sqlite+aiosqlite",
    Database.POSTGRESQL: "postgresql+asyncpg",
    Database.MYSQL: "mysql+aiomysql",
}
# These two choose a driver by themselves.
PLAIN_URLS = {Contender.OURS, Contender.DBOS}


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a contender reports of one run; times of workflows in milliseconds, CPU of its process alone."""

    workflows: int
    completed: int
    steps_per_second: float
    p50_ms: float
    p99_ms: float
    wall_seconds: float
    cpu_seconds: float
    errors: int
    first_error: str | None


@dataclass(frozen=True, slots=True)
class Failure:
    """There is no figure, and why."""

    reason: str


async def measure(cell: Cell, *, python: Path, url: str, workflows: int) -> Measurement | Failure:
    """Run the contender's script with its own interpreter against an empty database."""
    script = HERE / "contenders" / SCRIPTS[cell.contender]
    arguments = (url_for(cell, url), workflows, cell.load.steps, cell.load.concurrency)
    with tempfile.TemporaryDirectory(prefix="edda-bench-") as directory:
        process = await asyncio.create_subprocess_exec(
            *(str(part) for part in (python, script, *arguments)),
            cwd=directory,
            env=_environment(cell.contender),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            output, complaints = await asyncio.wait_for(process.communicate(), TIME_LIMIT)
        except TimeoutError:
            return Failure(f"not finished after {TIME_LIMIT:.0f} s")
        finally:
            await _end(process)
    return parse(process.returncode, output.decode(), complaints.decode(errors="replace"))


def url_for(cell: Cell, url: str) -> str:
    """The database's URL with the driver that the contender wants named."""
    if cell.contender in PLAIN_URLS:
        return url
    return f"{ASYNC_DRIVERS[cell.database]}{url[url.index(':') :]}"


def parse(code: int | None, output: str, complaints: str) -> Measurement | Failure:
    """The figures on the last line of output; of a process that failed, its last complaint."""
    if code == 0 and output.strip():
        return Measurement(**json.loads(output.splitlines()[-1]))
    lines = complaints.strip().splitlines() or [f"ended with code {code} and without figures"]
    return Failure(lines[-1][:200])


def _environment(contender: Contender) -> dict[str, str]:
    """The caller's environment, in which only our own process finds this checkout."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if contender is Contender.OURS:
        environment["PYTHONPATH"] = str(HERE.parent)
    return environment


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
        await process.wait()
