"""Lets workflows wait, wakes them and prints how long it took as JSON.

Only the standard library is used, and syntax that every contender's interpreter knows:
each contender's script imports this file from beside itself, in its own environment.
"""

# mypy: disable-error-code="import-not-found"
# (closed_loop and arrivals are found beside the script.)

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Any, Protocol

from arrivals import ARRIVALS
from closed_loop import percentile

STARTS_AT_A_TIME = 50
# Workflows that wait usually have done so for a while when something happens.
REST_SECONDS = 1.0
# The messages of a latency load come at random moments, so many a second on average.
MESSAGES_PER_SECOND = 40
ARRIVAL_LIMIT = 45.0
# What is not done by then is counted as missing, so that slow ones have figures as well.
LOAD_LIMIT = 240.0
PUBLISHER = "publisher"

Send = Callable[[str, float], Awaitable[None]]
Start = Coroutine[Any, Any, None]


@dataclass(frozen=True)
class Arguments:
    """What the command line of a contender says: DB_URL COUNT LOAD ALLOWANCE [publisher]."""

    db_url: str
    count: int
    load: str
    allowance: float
    """Seconds within which the contender starts all the workflows of the load."""
    role: str = "waiting"

    @property
    def publishes(self) -> bool:
        """Whether this is the other process: it knows no workflow, and only sends."""
        return self.role == PUBLISHER


def arguments() -> Arguments:
    db_url, count, load, allowance, *role = sys.argv[1:]
    return Arguments(db_url, int(count), load, float(allowance), *role)


class Contender(Protocol):
    """What is asked of a library; one that has nothing like it is not measured on that load.

    The methods that wait start a workflow. On the line behind each wait its body calls
    ``ARRIVALS.arrived``, or ``fired``, with the name it was given and the number of the wait: ``name:0``.
    """

    async def wait_for_messages(self, name: str, count: int) -> None:
        """Wait for so many messages to ``name``, one after the other."""

    async def wait_for_event(self, name: str) -> None:
        """Wait for the event that is posted to ``name``."""

    async def wait_for_news(self, name: str) -> None:
        """Wait for what is broadcast."""

    async def wait_until(self, name: str, due: float) -> None:
        """Wait for a point in time, in seconds since the epoch."""

    async def publish(self, name: str, sent: float) -> None:
        """Send to the workflow that waits under this name."""

    async def post(self, name: str, sent: float) -> None:
        """Send to it with an HTTP request."""

    async def broadcast(self, sent: float) -> None:
        """Send one message to all that wait for news."""


async def measure(contender: Contender, args: Arguments) -> None:
    """Wake one workflow to warm up, run the load once and print the result."""
    if args.publishes:
        await contender.publish("warm", time.monotonic())
        await _send_at_random(contender.publish, args.count)
        return
    await contender.wait_for_messages("warm", 1)
    async with _arriving(["warm:0"]):
        await contender.publish("warm", time.monotonic())
    ARRIVALS.forget()
    wall, cpu = time.perf_counter(), time.process_time()
    limit = asyncio.timeout(LOAD_LIMIT)
    try:
        async with limit:
            await LOADS[args.load](contender, args)
    except TimeoutError:
        reason = f"arrived within {ARRIVAL_LIMIT:.0f} s"
        if limit.expired():
            reason = f"reached in the {LOAD_LIMIT:.0f} s of a measurement"
        ARRIVALS.errors += [f"not {reason}"] * (args.count - len(ARRIVALS.latencies))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(json.dumps(result(args, wall=wall, cpu=cpu)), flush=True)


@contextlib.asynccontextmanager
async def _arriving(keys: Iterable[str]) -> AsyncIterator[None]:
    """Rest, let the block send, then wait until all have arrived."""
    arrived = ARRIVALS.expect(keys)
    await asyncio.sleep(REST_SECONDS)
    yield
    await asyncio.wait_for(arrived, ARRIVAL_LIMIT)


async def publish(contender: Contender, args: Arguments) -> None:
    """Workflows that wait for one message each; the messages come from this process."""
    await _start_all(contender.wait_for_messages(name, 1) for name in _names(args))
    async with _arriving(_keys(args)):
        await _send_at_random(contender.publish, args.count)


async def post(contender: Contender, args: Arguments) -> None:
    """The same with events that are posted to the application."""
    await _start_all(contender.wait_for_event(name) for name in _names(args))
    async with _arriving(_keys(args)):
        await _send_at_random(contender.post, args.count)


async def across(contender: Contender, args: Arguments) -> None:
    """Workflows that wait for one message each; the messages come from another process."""
    await _start_all(contender.wait_for_messages(name, 1) for name in _names(args))
    async with _arriving(_keys(args)):
        # Not with asyncio: some contenders bring an event loop that starts no processes.
        command = [sys.executable, *sys.argv, PUBLISHER]
        done = await asyncio.to_thread(subprocess.run, command, stdout=subprocess.DEVNULL, check=False)
        if done.returncode:
            raise SystemExit("the publishing process failed")


async def broadcast(contender: Contender, args: Arguments) -> None:
    """One message wakes everybody."""
    await _start_all(contender.wait_for_news(name) for name in _names(args))
    async with _arriving(_keys(args)):
        await contender.broadcast(time.monotonic())


async def timers(contender: Contender, args: Arguments) -> None:
    """Timers that are due at the same moment, once all are waiting."""
    due = time.time() + args.allowance
    arrived = ARRIVALS.expect(_keys(args))
    await _start_all(contender.wait_until(name, due) for name in _names(args))
    if time.time() > due:
        raise SystemExit(f"not all workflows waited within {args.allowance:.0f} s")
    await asyncio.wait_for(arrived, args.allowance + ARRIVAL_LIMIT)


async def stream(contender: Contender, args: Arguments) -> None:
    """One workflow that receives many messages, each of them sent when the last one was received."""
    await contender.wait_for_messages("stream", args.count)
    await asyncio.sleep(REST_SECONDS)
    for number in range(args.count):
        arrived = ARRIVALS.expect([f"stream:{number}"])
        await contender.publish("stream", time.monotonic())
        await asyncio.wait_for(arrived, ARRIVAL_LIMIT)


LOADS = {load.__name__: load for load in (publish, across, post, broadcast, timers, stream)}


def _names(args: Arguments) -> list[str]:
    return [f"reader-{number}" for number in range(args.count)]


def _keys(args: Arguments) -> list[str]:
    return [f"{name}:0" for name in _names(args)]


async def _start_all(starts: Iterable[Start]) -> None:
    """The first one alone: a library may have something to do once for each workflow function."""
    gate = asyncio.Semaphore(STARTS_AT_A_TIME)
    first, *others = starts
    await first

    async def start(one: Start) -> None:
        async with gate:
            await one

    await asyncio.gather(*(start(one) for one in others))


async def _send_at_random(send: Send, count: int) -> None:
    """One message for each reader at a moment of its own, so that no poller is in step with the sender."""
    dice = random.Random(count)  # the same moments for every contender
    start = time.monotonic()

    async def later(number: int, delay: float) -> None:
        await asyncio.sleep(start + delay - time.monotonic())
        await send(f"reader-{number}", time.monotonic())

    span = max(count / MESSAGES_PER_SECOND, 1.0)
    await asyncio.gather(*(later(number, dice.uniform(0, span)) for number in range(count)))


def result(args: Arguments, *, wall: float, cpu: float) -> dict[str, object]:
    """The figures of what has arrived."""
    ordered = sorted(ARRIVALS.latencies.values())
    done, errors = len(ordered), ARRIVALS.errors
    return {
        "size": args.count,
        "completed": done,
        "per_second": _per_second(args, ordered, wall),
        "p50_ms": percentile(ordered, 0.50) * 1000,
        "p99_ms": percentile(ordered, 0.99) * 1000,
        "wall_seconds": wall,
        "cpu_seconds": cpu,
        "cpu_us_each": cpu / done * 1e6 if done else 0.0,
        "errors": len(errors),
        "first_error": errors[0].splitlines()[0] if errors else None,
        "figures": _growth(ARRIVALS.moments) if args.load == "stream" else {},
    }


def _growth(moments: list[float]) -> dict[str, float]:
    grown = growth(moments)
    return {} if grown is None else {"last/first": grown}


def _per_second(args: Arguments, ordered: list[float], wall: float) -> float | None:
    """All that were woken, by the time until the last line; None where the messages come at random."""
    if args.load in {"publish", "across", "post"}:
        return None
    if len(ordered) < args.count:
        return len(ordered) / wall
    return len(ordered) / (wall - REST_SECONDS if args.load == "stream" else ordered[-1])


def growth(moments: list[float]) -> float | None:
    """What the last tenth of the messages took each, divided by what the first tenth took."""
    pauses = [later - earlier for earlier, later in pairwise(moments)]
    tenth = len(pauses) // 10
    return fmean(pauses[-tenth:]) / fmean(pauses[:tenth]) if tenth else None
