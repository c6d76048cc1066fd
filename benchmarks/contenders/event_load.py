"""Runs one of the loads of events in and out, and prints what it cost as JSON.

Only the standard library and uvicorn are used, and syntax that every contender's
interpreter knows: each contender's script imports this file from beside itself.
"""

# mypy: disable-error-code="import-not-found"
# (closed_loop is found beside the script.)

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import uvicorn
from closed_loop import percentile

HERE = Path(__file__).parent
CONNECTIONS = 64
WARM_UP = 64
REST_SECONDS = 1.0
EVENTS_PER_SECOND = 20
ARRIVAL_LIMIT = 45.0
LIMIT = 240.0
STORED, STARTED = "bench_stored", "bench_started"


@dataclass(frozen=True)
class Arguments:
    """What the command line of a contender says: DB_URL COUNT LOAD."""

    db_url: str
    count: int
    load: str


def arguments() -> Arguments:
    db_url, count, load = sys.argv[1:]
    return Arguments(db_url, int(count), load)


class Contender(Protocol):
    """What is asked of a library."""

    def serving(self) -> contextlib.AbstractAsyncContextManager[Any]:
        """What uvicorn serves, ready; workflows started by ``bench_started`` call ``REACHED.add``."""

    async def record(self, url: str, first: int, count: int) -> None:
        """Fill the outbox with so many events, from this number on, while nobody sends them."""

    def sending(self, url: str) -> contextlib.AbstractAsyncContextManager[Any]:
        """Send what is in the outbox to this URL."""

    def announcing(self, url: str) -> contextlib.AbstractAsyncContextManager[Callable[[], Awaitable[str]]]:
        """An application that sends by itself; gives a function that records an event and returns its id."""


@dataclass
class Reached:
    """The numbers of the events whose workflows have run."""

    numbers: set[int] = field(default_factory=set)
    last: float = 0.0
    _new: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, number: int) -> None:
        self.numbers.add(number)
        self.last = time.monotonic()
        self._new.set()

    async def all(self, numbers: range) -> None:
        """Wait for these; how many there are is looked at first, since that is quick."""
        while len(self.numbers) < numbers.stop or not self.numbers.issuperset(numbers):
            self._new.clear()
            await self._new.wait()


REACHED = Reached()


@dataclass
class Figures:
    """What a load came to."""

    latencies: Sequence[float]
    seconds: float | None
    """None where the events come at moments of their own."""
    errors: list[str]
    cpu: float
    wall: float
    lost: int = 0


async def measure(contender: Contender, args: Arguments) -> None:
    """Run the load once, behind a few events to warm up, and print the result."""
    async with asyncio.timeout(LIMIT):
        figures = await LOADS[args.load](contender, args.count)
    done = len(figures.latencies) - figures.lost
    ordered = sorted(figures.latencies)
    result = {
        "size": args.count,
        "completed": done,
        "per_second": None if figures.seconds is None else done / figures.seconds,
        "p50_ms": percentile(ordered, 0.50) * 1000,
        "p99_ms": percentile(ordered, 0.99) * 1000,
        "wall_seconds": figures.wall,
        "cpu_seconds": figures.cpu,
        "cpu_us_each": figures.cpu / done * 1e6 if done else 0.0,
        "errors": len(figures.errors),
        "first_error": figures.errors[0] if figures.errors else None,
    }
    print(json.dumps(result), flush=True)


# -- in ------------------------------------------------------------------------------------


async def stored(contender: Contender, count: int) -> Figures:
    """Events that nobody waits for: the clock stops with the last answer."""
    return await _ingest(contender, count, STORED)


async def started(contender: Contender, count: int) -> Figures:
    """Each event starts a workflow: the clock stops when the last body has run."""
    return await _ingest(contender, count, STARTED)


async def _ingest(contender: Contender, count: int, event_type: str) -> Figures:
    async with contender.serving() as application, _served(application) as port:
        # The first one alone: a library may have something to do once for each workflow function.
        await _post(port, 0, 1, event_type)
        await _missing(contender, range(1), event_type)
        await _post(port, 1, WARM_UP - 1, event_type)
        await _missing(contender, range(WARM_UP), event_type)
        wall, cpu = time.monotonic(), time.process_time()
        report = await _post(port, WARM_UP, count, event_type)
        missing = await _missing(contender, range(WARM_UP, WARM_UP + count), event_type)
        wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    wrong = [f"answered with {status}" for status in report["statuses"] if status not in ("200", "202")]
    wrong += [f"no workflow ran within {ARRIVAL_LIMIT:.0f} s, although the event was accepted"] * missing
    seconds = max(report["ended"], REACHED.last) - report["began"]
    return Figures(report["latencies"], seconds, wrong, cpu, wall, lost=missing)


async def _missing(contender: Contender, numbers: range, event_type: str) -> int:
    """Wait for the workflows of these events; returns how many have not run."""
    if event_type != STARTED or not getattr(contender, "starts_workflows", True):
        return 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ARRIVAL_LIMIT):
            await REACHED.all(numbers)
    return len(set(numbers) - REACHED.numbers)


@contextlib.asynccontextmanager
async def _served(application: Any) -> AsyncIterator[int]:
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    # The same parser and loop for everybody, whatever else is installed.
    config = uvicorn.Config(
        application, http="h11", loop="asyncio", lifespan="off", log_level="critical", access_log=False
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        if serving.done():
            await serving
            raise SystemExit("the server did not start")
        await asyncio.sleep(0.01)
    yield listener.getsockname()[1]
    server.should_exit = True
    await asyncio.wait({serving}, timeout=30)


async def _post(port: int, first: int, count: int, event_type: str) -> dict[str, Any]:
    # Not with asyncio: some contenders bring an event loop that starts no processes.
    numbers = (str(part) for part in (port, CONNECTIONS, first, count))
    command = [sys.executable, str(HERE / "posting.py"), *numbers, event_type]
    done = await asyncio.to_thread(subprocess.run, command, stdout=subprocess.PIPE, check=True)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


# -- out -----------------------------------------------------------------------------------


class Sink:
    """The broker, a process of its own."""

    def __init__(self) -> None:
        command = [sys.executable, str(HERE / "sinking.py")]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}/"

    async def report(self, count: int) -> dict[str, Any]:
        """When each event arrived, once so many different ones are there."""
        report: dict[str, Any] = json.loads(await asyncio.to_thread(self._ask, count))
        return report

    def _ask(self, count: int) -> bytes:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{count}\n".encode())
        self._process.stdin.flush()
        return self._process.stdout.readline()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


async def backlog(contender: Contender, count: int) -> Figures:
    """Events that wait in the outbox: the clock runs from the start of the sender to the last arrival."""
    with contextlib.closing(Sink()) as sink:
        await contender.record(sink.url, 0, count)
        wall, cpu = time.monotonic(), time.process_time()
        async with contender.sending(sink.url):
            report = await sink.report(count)
        took = time.monotonic() - wall
        cpu = time.process_time() - cpu
    arrived = report["arrivals"].values()
    repeated = [f"{report['posts'] - count} events arrived twice"] if report["posts"] > count else []
    return Figures([at - wall for at in arrived], max(arrived) - wall, repeated, cpu, took)


async def delay(contender: Contender, count: int) -> Figures:
    """One event now and then: from the call that records it to its arrival."""
    with contextlib.closing(Sink()) as sink:
        async with contender.announcing(sink.url) as announce:
            return await _announce(announce, sink, count)


async def _announce(announce: Callable[[], Awaitable[str]], sink: Sink, count: int) -> Figures:
    sent: dict[str, float] = {}
    dice = random.Random(count)
    await announce()
    await sink.report(1)
    await asyncio.sleep(REST_SECONDS)
    wall, cpu = time.monotonic(), time.process_time()
    moments = sorted(dice.uniform(0, max(count / EVENTS_PER_SECOND, 1.0)) for _ in range(count))
    for moment in moments:
        await asyncio.sleep(wall + moment - time.monotonic())
        called = time.monotonic()
        sent[await announce()] = called
    report = await sink.report(count + 1)
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    latencies = [report["arrivals"][event_id] - at for event_id, at in sent.items()]
    return Figures(latencies, None, [], cpu, wall)


LOADS = {load.__name__: load for load in (stored, started, backlog, delay)}
