"""``make demo`` shows what it promises, says so when a promise is broken, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest

from tests.support.eventually import eventually
from tests.support.loading import load
from tests.support.workers import PROJECT, Worker, Workers

DEMO = PROJECT / "examples" / "demo.py"
ORDERS = ["order-1", "order-2", "order-3"]
STEPS = ["reserve_inventory", "charge_payment", "book_shipping", "send_confirmation"]


async def _start(workers: Workers, directory: Path, **env: str) -> Worker:
    return await workers.start(DEMO, env={"TMPDIR": str(directory), **env})


def _servers(worker: Worker) -> list[int]:
    return [int(pid) for pid in re.findall(r"process (\d+) +server started", worker.output)]


async def _check_nothing_is_left(worker: Worker, directory: Path) -> None:
    def check() -> None:
        assert not [pid for pid in _servers(worker) if psutil.pid_exists(pid)]

    await eventually(check)
    assert list(directory.iterdir()) == []


async def test_the_demo_kills_its_server_and_every_step_is_recorded_once(
    workers: Workers, tmp_path: Path
) -> None:
    demo = await _start(workers, tmp_path)
    assert await demo.wait(within=240) == 0, demo.output

    first, second = _servers(demo)
    [killed] = re.findall(r"process (\d+) +KILLED with SIGKILL", demo.output)
    assert int(killed) == first
    recorded = Counter(re.findall(r"database +(\S+): (\S+) recorded", demo.output))
    assert recorded == {(order, step): 1 for order in ORDERS for step in STEPS}
    timeline = Counter(re.findall(r"^    \S+  process (\d+) +\S+ +recorded", demo.output, re.MULTILINE))
    assert set(timeline) == {str(first), str(second)}
    assert timeline.total() == len(ORDERS) * len(STEPS)
    assert re.findall(r"^(\S+) completed: shipment-\1$", demo.output, re.MULTILINE) == ORDERS
    assert "As promised:" in demo.output
    assert "\x1b" not in demo.output
    await _check_nothing_is_left(demo, tmp_path)


def _interrupt_all(demo: Worker) -> None:
    os.killpg(demo.pid, signal.SIGINT)


def _terminate_demo_alone(demo: Worker) -> None:
    os.kill(demo.pid, signal.SIGTERM)


@pytest.mark.parametrize("interrupt", [_interrupt_all, _terminate_demo_alone])
async def test_an_interrupted_demo_ends_its_server_and_removes_its_files(
    workers: Workers, tmp_path: Path, interrupt: Callable[[Worker], None]
) -> None:
    demo = await _start(workers, tmp_path)
    await demo.wait_for_line("order-1: reserve_inventory begins")
    interrupt(demo)
    assert await demo.wait() == 130, demo.output
    assert "Traceback" not in demo.output
    await _check_nothing_is_left(demo, tmp_path)


async def test_a_server_that_does_not_start_is_reported(workers: Workers, tmp_path: Path) -> None:
    library, directory = tmp_path / "library", tmp_path / "tmp"
    library.mkdir()
    directory.mkdir()
    (library / "edda.py").write_text("raise SystemExit('this library is broken')")
    demo = await _start(workers, directory, PYTHONPATH=str(library))
    assert await demo.wait() == 1
    assert "Not as promised: the server did not start:\nthis library is broken" in demo.output
    assert list(directory.iterdir()) == []


class _Story:
    """What the demo has seen: two steps of each order before the kill, two after it."""

    FIRST, SECOND = 11, 22

    def __init__(self, demo: ModuleType) -> None:
        self.recorded = [
            demo.Step(row, order, step, self.FIRST if row < 6 else self.SECOND, "2026-01-01 00:00:00")
            for row, (step, order) in enumerate((step, order) for step in STEPS for order in ORDERS)
        ]
        self.before_kill = self.recorded[:6]
        self.begun = defaultdict(list, {(step.order, step.name): [step.process] for step in self.recorded})
        self.orders = [(order, "completed", "") for order in ORDERS]

    def steps(self) -> list[Any]:
        return self.recorded

    def instances(self) -> list[tuple[str, str, str]]:
        return self.orders


@pytest.fixture
def demo_module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load(DEMO, monkeypatch)


def _compare(demo: ModuleType, story: _Story) -> None:
    demo._compare(story, story.FIRST, story.SECOND)


def test_the_demo_is_content_when_every_promise_was_kept(demo_module: ModuleType) -> None:
    _compare(demo_module, _Story(demo_module))


def _fail_an_order(story: _Story, demo: ModuleType) -> None:
    story.orders[1] = ("order-2", "failed", "")


def _accept_an_order_twice(story: _Story, demo: ModuleType) -> None:
    story.orders.append(("order-3", "completed", ""))


def _lose_a_step(story: _Story, demo: ModuleType) -> None:
    story.recorded = story.recorded[:-1]


def _record_a_step_twice(story: _Story, demo: ModuleType) -> None:
    story.recorded = [*story.recorded, demo.Step(99, *["order-1", STEPS[0]], story.SECOND, "")]


def _change_a_recorded_step(story: _Story, demo: ModuleType) -> None:
    story.recorded = [demo.Step(0, "order-1", STEPS[0], story.SECOND, ""), *story.recorded[1:]]


def _run_a_recorded_step_again(story: _Story, demo: ModuleType) -> None:
    story.begun["order-1", STEPS[0]].append(story.SECOND)


def _do_everything_before_the_kill(story: _Story, demo: ModuleType) -> None:
    story.before_kill = story.recorded


@pytest.mark.parametrize(
    ("breach", "complaint"),
    [
        (_fail_an_order, "the orders are"),
        (_accept_an_order_twice, "the orders are"),
        (_lose_a_step, "send_confirmation of order-3 is not recorded exactly once"),
        (_record_a_step_twice, "reserve_inventory of order-1 is not recorded exactly once"),
        (_change_a_recorded_step, "no longer there, or not the same"),
        (_run_a_recorded_step_again, "reserve_inventory of order-1 was recorded, and ran again"),
        (_do_everything_before_the_kill, "the steps after the kill did not run in the second process"),
    ],
)
def test_the_demo_notices_a_broken_promise(
    demo_module: ModuleType, breach: Callable[[_Story, ModuleType], None], complaint: str
) -> None:
    story = _Story(demo_module)
    breach(story, demo_module)
    with pytest.raises(demo_module.PromiseBrokenError, match=complaint):
        _compare(demo_module, story)
