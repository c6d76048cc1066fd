"""Runs one kind of workflow from a fixed number of clients and prints what it cost as JSON.

Only the standard library is used, and syntax that every contender's interpreter knows:
each contender's script imports this file from beside itself, in its own environment.
"""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass, field

MEMBER = "member"
GO = "go"


@dataclass(frozen=True)
class Arguments:
    """What the command line says: DB_URL WORKFLOWS STEPS CONCURRENCY [PROCESSES [member]]."""

    db_url: str
    workflows: int
    steps: int
    concurrency: int
    processes: int = 1
    """So many processes share the workflows and the clients."""
    role: str = ""

    @property
    def expected(self) -> int:
        """The sum that every workflow has to return."""
        return sum(range(self.steps))

    @property
    def share(self) -> int:
        """How many of the workflows this process runs; the first one takes what is left over."""
        each, rest = divmod(self.workflows, self.processes)
        return each if self.role == MEMBER else each + rest

    @property
    def clients(self) -> int:
        """How many of the clients are in this process."""
        return max(self.concurrency // self.processes, 1)


@dataclass
class Tally:
    """What the clients of a process saw."""

    latencies: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    cpu: float = 0.0


Start = Callable[[], Awaitable["int | None"]]


def arguments() -> Arguments:
    db_url, workflows, steps, concurrency, *more = sys.argv[1:]
    processes, role = [*more, *("1", "")[len(more) :]]
    return Arguments(
        db_url,
        workflows=int(workflows),
        steps=int(steps),
        concurrency=int(concurrency),
        processes=int(processes),
        role=role,
    )


async def measure(start: Start, args: Arguments) -> None:
    """Run ``start`` once to warm up and then ``args.workflows`` times; print the result."""
    await start()
    if args.role == MEMBER:
        print(GO, flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        print(json.dumps(asdict(await _run(start, args))), flush=True)
        return
    members = await asyncio.to_thread(_members, args)
    wall = time.perf_counter()
    for member in members:
        _tell(member, GO)
    tallies = [await _run(start, args)]
    tallies += [await asyncio.to_thread(_told, member) for member in members]
    wall = time.perf_counter() - wall  # what it takes them to shut down is not in it
    tallies += [await asyncio.to_thread(_ended, member) for member in members]
    print(json.dumps(_result(_together(tallies), args, wall=wall)), flush=True)


def _members(args: Arguments) -> list[subprocess.Popen[str]]:
    """The other processes, each of which has warmed up and waits for the word.

    Not with asyncio: some contenders bring an event loop that starts no processes.
    """
    command = [sys.executable, sys.argv[0], args.db_url, args.workflows, args.steps, args.concurrency]
    command += [args.processes, MEMBER]
    members = []
    for _ in range(args.processes - 1):
        member = subprocess.Popen(
            [str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        members.append(member)
        if _line(member) != GO:
            raise SystemExit("one of the processes did not come up")
    return members


def _line(member: subprocess.Popen[str]) -> str:
    assert member.stdout is not None
    return member.stdout.readline().strip()


def _tell(member: subprocess.Popen[str], word: str) -> None:
    assert member.stdin is not None
    member.stdin.write(f"{word}\n")
    member.stdin.flush()


def _told(member: subprocess.Popen[str]) -> Tally:
    """What a process saw, once it has ended its share."""
    line = _line(member)
    return Tally(**json.loads(line)) if line else Tally(errors=["one of the processes told nothing"])


def _ended(member: subprocess.Popen[str]) -> Tally:
    """Nothing more, unless the process failed in the end."""
    failed = member.wait()
    return Tally(errors=[f"one of the processes ended with {failed}"] if failed else [])


async def _run(start: Start, args: Arguments) -> Tally:
    """The share of this process."""
    tally, tickets = Tally(), iter(range(args.share))
    cpu = time.process_time()
    await asyncio.gather(*(_client(start, args.expected, tickets, tally) for _ in range(args.clients)))
    tally.cpu = time.process_time() - cpu
    return tally


async def _client(start: Start, expected: int, tickets: Iterator[int], tally: Tally) -> None:
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


def _together(tallies: list[Tally]) -> Tally:
    whole = Tally()
    for tally in tallies:
        whole.latencies += tally.latencies
        whole.errors += tally.errors
        whole.cpu += tally.cpu
    return whole


def _result(tally: Tally, args: Arguments, *, wall: float) -> dict[str, object]:
    ordered = sorted(tally.latencies)
    done = len(ordered)
    return {
        "size": args.workflows,
        "completed": done,
        "per_second": done * args.steps / wall,
        "p50_ms": percentile(ordered, 0.50) * 1000,
        "p99_ms": percentile(ordered, 0.99) * 1000,
        "wall_seconds": wall,
        "cpu_seconds": tally.cpu,
        "cpu_us_each": tally.cpu / (done * args.steps) * 1e6 if done else 0.0,
        "errors": len(tally.errors),
        "first_error": (tally.errors[0].splitlines() or [""])[0] if tally.errors else None,
    }


def percentile(ordered: list[float], share: float) -> float:
    """The nearest-rank percentile of values in ascending order; 0.0 of none."""
    if not ordered:
        return 0.0
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1]
