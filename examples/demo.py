"""The main job before your eyes: a server dies in the middle of three orders, and all complete.

``make demo`` runs this file. It starts ``order_saga.py`` under uvicorn on an empty SQLite file,
posts three events, kills the server with SIGKILL, starts it again, waits until the orders have
completed, and compares the database with what was promised. What it shows as recorded it has
read from the database file itself, without the library. It leaves nothing behind; the exit code
is 0 only if every promise was kept.
"""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import NoReturn

EXAMPLES = Path(__file__).resolve().parent
HOST = "127.0.0.1"
USUAL_PORT = 8000
STEP_SECONDS = 1.0
LEASE_SECONDS = 3
PATIENCE = 60.0

STEPS = ("reserve_inventory", "charge_payment", "book_shipping", "send_confirmation")
ORDERS = {"order-1": 99.50, "order-2": 12.00, "order-3": 250.25}
# What the example prints: who begins which step of which order.
SAID = re.compile(r"\[process (?P<process>\d+)\] (?P<order>[^:]+): (?P<what>.+)")


class PromiseBrokenError(Exception):
    """Something did not happen as the README promises."""


@dataclass(frozen=True)
class Step:
    """One row of the history of an order."""

    row: int
    order: str
    name: str
    process: int
    recorded_at: str

    @property
    def time(self) -> str:
        return _clock(datetime.fromisoformat(self.recorded_at).replace(tzinfo=UTC))


def main() -> int:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    began = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="edda-demo-") as directory:
            _demo(Path(directory))
    except PromiseBrokenError as broken:
        print(_bold(f"\nNot as promised: {broken}"), flush=True)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted; the server is stopped and its files are removed.", flush=True)
        return 130
    print(f"Done in {time.monotonic() - began:.0f} s.", flush=True)
    return 0


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _demo(directory: Path) -> None:
    database, port = directory / "demo.db", _free_port()
    print(_bold(f"A server on http://localhost:{port}, three orders of {len(STEPS)} steps, a SQLite file"))
    with _running_server(database, port) as first, closing(_Story(database)) as story:
        for order in ORDERS:
            _post(port, order)
            story.watch(first, STEP_SECONDS * 0.4)  # so that the kill finds them at different steps
        story.follow(first, until=story.is_in_the_middle, what="the middle of the orders")
        story.watch(first, STEP_SECONDS * 0.2)  # so that it hits steps that are under way
        first.kill()
        story.note_kill(first)
        with _running_server(database, port) as second:
            _tell(f"process {second.pid}", "takes over once the leases of the dead process have run out")
            _post(port, next(iter(ORDERS)), again=True)
            story.follow(second, until=story.all_ended, what="the end of all orders")
            second.stop()
            story.tell_rest(second)
        _show_timeline(story, first.pid)
        _compare(story, first.pid, second.pid)


# The server


class _Server:
    """The example under uvicorn; its output arrives line by line in a queue."""

    def __init__(self, database: Path, port: int) -> None:
        settings = {
            "EDDA_DB_URL": f"sqlite:///{database}",
            "EDDA_STEP_SECONDS": str(STEP_SECONDS),
            "EDDA_LEASE_SECONDS": str(LEASE_SECONDS),
        }
        command = ["-m", "uvicorn", "--app-dir", str(EXAMPLES), "order_saga:app", "--log-level", "warning"]
        self._process = subprocess.Popen(
            [sys.executable, *command, "--host", HOST, "--port", str(port)],
            cwd=database.parent,
            env={**os.environ, **settings},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.pid = self._process.pid
        self.lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                self.lines.put(line.rstrip("\n"))

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL: the process gets no chance to tidy up."""
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def stop(self) -> None:
        """An orderly end if it comes in time, an end in any case; harmless when repeated."""
        self._process.terminate()
        try:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=15)
        finally:
            self.kill()


@contextmanager
def _running_server(database: Path, port: int) -> Iterator[_Server]:
    server = _Server(database, port)
    try:
        _await_port(server, port)
        _tell(f"process {server.pid}", "server started")
        yield server
    finally:
        server.stop()


def _await_port(server: _Server, port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if not server.is_running:
            server.stop()
            raise PromiseBrokenError("\n".join(["the server did not start:", *server.lines.queue]))
        try:
            socket.create_connection((HOST, port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise PromiseBrokenError(f"the server did not listen on port {port} within {PATIENCE:.0f} s")


def _free_port() -> int:
    """The port that the README names, or any other if that is taken."""
    try:
        return _bindable(USUAL_PORT)
    except OSError:
        return _bindable(0)


def _bindable(port: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((HOST, port))
        return int(probe.getsockname()[1])


def _post(port: int, order: str, *, again: bool = False) -> None:
    event = {
        "specversion": "1.0",
        "id": f"event-of-{order}",
        "source": "/demo",
        "type": "order_saga",
        "data": {"order_id": order, "amount": ORDERS[order]},
    }
    with closing(HTTPConnection(HOST, port, timeout=30)) as connection:
        connection.request("POST", "/", json.dumps(event), {"content-type": "application/cloudevents+json"})
        answer = connection.getresponse()
        text = answer.read().decode()
    if answer.status != 202:
        raise PromiseBrokenError(f"the event of {order} was answered with {answer.status}: {text}")
    repetition = " (the same event once more: it must change nothing)" if again else ""
    _tell("client", f"{order}: event posted, answer 202{repetition}")


# What happens


class _Story:
    """Tells what the server says and what the database holds, in the order in which it happens."""

    def __init__(self, database: Path) -> None:
        # Read-only: this program watches, it takes no part.
        self._database = sqlite3.connect(f"file:{database}?mode=ro", uri=True, isolation_level=None)
        self._told: set[int] = set()
        self.begun: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        self.before_kill: list[Step] = []
        self.killed_at = ""

    def close(self) -> None:
        self._database.close()

    def steps(self) -> list[Step]:
        """All recorded steps of the orders, in the order of recording."""
        rows = self._database.execute(
            "SELECT id, json_extract(input_data, '$.order_id'), json_extract(event_data, '$.activity_name'),"
            " json_extract(event_data, '$.result.process'), created_at"
            " FROM workflow_history JOIN workflow_instances USING (instance_id) ORDER BY id"
        )
        return [Step(*row) for row in rows if row[1] in ORDERS]

    def instances(self) -> list[tuple[str, str, str]]:
        """Order, status and shipment of every instance of the orders."""
        rows = self._database.execute(
            "SELECT json_extract(input_data, '$.order_id'), status,"
            " json_extract(output_data, '$.result.shipment.reference') FROM workflow_instances"
        )
        return sorted(row for row in rows if row[0] in ORDERS)

    def is_in_the_middle(self) -> bool:
        counts = Counter(step.order for step in self.steps())
        return len(counts) == len(ORDERS) and max(counts.values()) >= 2

    def all_ended(self) -> bool:
        ended = [status for _, status, _ in self.instances() if status in {"completed", "failed"}]
        return len(ended) >= len(ORDERS)

    def follow(self, server: _Server, *, until: Callable[[], bool], what: str) -> None:
        """Tell what happens until this is true."""
        deadline = time.monotonic() + PATIENCE
        while not until():
            if time.monotonic() > deadline:
                raise PromiseBrokenError(f"{what} was not reached within {PATIENCE:.0f} s")
            if not server.is_running:
                self.tell_rest(server)
                raise PromiseBrokenError("the server ended by itself")
            self._tell_next(server)

    def watch(self, server: _Server, seconds: float) -> None:
        """Tell what happens in this time."""
        end = time.monotonic() + seconds
        self.follow(server, until=lambda: time.monotonic() > end, what="the end of a pause")

    def tell_rest(self, server: _Server) -> None:
        """Tell what a server that has ended still had to say."""
        while not server.lines.empty():
            self._tell_next(server)
        self._tell_recorded()

    def _tell_next(self, server: _Server) -> None:
        line = None
        with suppress(queue.Empty):
            line = server.lines.get(timeout=0.05)
        self._tell_recorded()  # what was recorded before the line was said comes before the line
        if line is not None:
            self._tell_line(line)

    def _tell_recorded(self) -> None:
        for step in self.steps():
            if step.row not in self._told:
                self._told.add(step.row)
                _tell("database", f"{step.order}: {step.name} recorded", at=step.time)

    def _tell_line(self, line: str) -> None:
        said = SAID.fullmatch(line)
        if said is None:
            _tell("server", line)
            return
        _tell(f"process {said['process']}", f"{said['order']}: {said['what']}")
        if said["what"].endswith(" begins"):
            name = said["what"].removesuffix(" begins")
            self.begun[said["order"], name].append(int(said["process"]))

    def note_kill(self, server: _Server) -> None:
        self.tell_rest(server)
        self.killed_at = _clock(datetime.now(UTC))
        self.before_kill = self.steps()
        _tell(f"process {server.pid}", _bold("KILLED with SIGKILL, in the middle of its work"))
        if any(status == "completed" for _, status, _ in self.instances()):
            raise PromiseBrokenError("an order completed before the server could be killed")


# What came of it


def _show_timeline(story: _Story, killed: int) -> None:
    for order, status, shipment in story.instances():
        print(_bold(f"\n{order} {status}: {shipment}"))
        steps = [step for step in story.steps() if step.order == order]
        for step in steps:
            if step in story.before_kill:
                _show_step(step, story)
        print(f"    {story.killed_at}  process {killed:<8}{_bold('killed with SIGKILL')}")
        for step in steps:
            if step not in story.before_kill:
                _show_step(step, story)
    print(flush=True)


def _show_step(step: Step, story: _Story) -> None:
    begun = story.begun[step.order, step.name]
    note = "" if len(begun) < 2 else f"  (begun in {' and again in '.join(map(str, begun))})"
    print(f"    {step.time}  process {step.process:<8}{step.name:<20}recorded{note}")


def _compare(story: _Story, first: int, second: int) -> None:
    """Raise unless the database holds exactly what is promised."""
    complaints = [*_about_instances(story), *_about_steps(story), *_about_processes(story, first, second)]
    if complaints:
        raise PromiseBrokenError("; ".join(complaints))
    before, total = len(story.before_kill), len(ORDERS) * len(STEPS)
    print(_bold("As promised:"))
    print(f"  {len(ORDERS)} orders, each accepted once and completed")
    print(f"  {total} steps, each recorded exactly once: {before} before the kill, {total - before} after it")
    print(f"  none of the {before} recorded steps ran again in the new process", flush=True)


def _about_instances(story: _Story) -> Iterator[str]:
    found = [(order, status) for order, status, _ in story.instances()]
    if found != [(order, "completed") for order in sorted(ORDERS)]:
        yield f"the orders are {found}"


def _about_steps(story: _Story) -> Iterator[str]:
    recorded = Counter((step.order, step.name) for step in story.steps())
    for order in ORDERS:
        for name in STEPS:
            if recorded.pop((order, name), 0) != 1:
                yield f"{name} of {order} is not recorded exactly once"
    if recorded:
        yield f"the history holds unknown steps: {list(recorded)}"
    if not set(story.before_kill) <= set(story.steps()):
        yield "a step that was recorded before the kill is no longer there, or not the same"


def _about_processes(story: _Story, first: int, second: int) -> Iterator[str]:
    before = set(story.before_kill)
    after = set(story.steps()) - before
    if not before or {step.process for step in before} != {first}:
        yield "the steps before the kill did not run in the first process"
    if not after or {step.process for step in after} != {second}:
        yield "the steps after the kill did not run in the second process"
    for step in before:
        if second in story.begun[step.order, step.name]:
            yield f"{step.name} of {step.order} was recorded, and ran again"


# How it is told


def _tell(who: str, what: str, *, at: str | None = None) -> None:
    print(f"{at or _clock(datetime.now(UTC))}  {who:<16}{what}", flush=True)


def _clock(instant: datetime) -> str:
    return f"{instant.astimezone():%H:%M:%S.%f}"[:-4]


def _bold(text: str) -> str:
    plain = not sys.stdout.isatty() or "NO_COLOR" in os.environ
    return text if plain else f"\x1b[1m{text}\x1b[0m"


if __name__ == "__main__":
    sys.exit(main())
