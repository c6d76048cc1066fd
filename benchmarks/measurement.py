"""One measurement: a contender in a process of its own, and what it printed."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.cells import Cell, Contender, Database

HERE = Path(__file__).parent
CONTENDERS = HERE / "contenders"
# Most of it is for filling a database; the loads that may wait too long have limits of their own.
TIME_LIMIT = 600.0
ASYNC_DRIVERS = {
    Database.SQLITE: "sqlite+aiosqlite",
    Database.POSTGRESQL: "postgresql+asyncpg",
    Database.MYSQL: "mysql+aiomysql",
}
# These two choose a driver by themselves.
PLAIN_URLS = {Contender.OURS, Contender.DBOS}


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a contender reports of one run; times of items in milliseconds, CPU of its process alone."""

    size: int
    completed: int
    per_second: float | None
    """None under a load whose items come at a pace of their own: its figure is the latency."""
    p50_ms: float
    p99_ms: float
    wall_seconds: float
    cpu_seconds: float
    cpu_us_each: float
    errors: int
    first_error: str | None
    figures: Mapping[str, float] = field(default_factory=dict)
    """Further figures, which only some loads have, under the names of their columns."""

    @property
    def speed(self) -> float:
        """What ratios are made of: more is better."""
        if self.per_second is None:
            return 1000 / self.p50_ms if self.p50_ms else 0.0
        return self.per_second


@dataclass(frozen=True, slots=True)
class Failure:
    """There is no figure, and why."""

    reason: str


async def measure(cell: Cell, script: str, *, python: Path, url: str, size: int) -> Measurement | Failure:
    """Run the contender's script with its own interpreter against the database."""
    arguments = (url_for(cell, url), size, *cell.load.arguments)
    ended = await run(python, CONTENDERS / script, *arguments, environment=_environment(cell.contender))
    return ended if isinstance(ended, Failure) else parse(*ended)


async def run(
    *command: object, environment: Mapping[str, str] | None = None
) -> tuple[int | None, str, str] | Failure:
    """Run a program in a directory of its own; returns its code, its output and its complaints."""
    with tempfile.TemporaryDirectory(prefix="edda-bench-") as directory:
        process = await asyncio.create_subprocess_exec(
            *(str(part) for part in command),
            cwd=directory,
            env=environment,
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
    return process.returncode, output.decode(), complaints.decode(errors="replace")


def url_for(cell: Cell, url: str) -> str:
    """The database's URL with the driver that the contender wants named."""
    if cell.contender in PLAIN_URLS:
        return url
    return f"{ASYNC_DRIVERS[cell.database]}{url[url.index(':') :]}"


def parse(code: int | None, output: str, complaints: str) -> Measurement | Failure:
    """The figures on the last line of output; of a process that failed, its last complaint."""
    if code == 0 and output.strip():
        return Measurement(**json.loads(output.splitlines()[-1]))
    return Failure(complaint(code, complaints))


def complaint(code: int | None, complaints: str) -> str:
    """The last line of what a program that failed complained about."""
    lines = complaints.strip().splitlines() or [f"ended with code {code} and without figures"]
    return lines[-1][:200]


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
