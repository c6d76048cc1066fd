# mypy: disable-error-code="import-not-found"
# (The modules are found in the folder of the contenders: see conftest.py.)

from __future__ import annotations

import asyncio
import json
import time

import pytest
import waking
from arrivals import ARRIVALS
from waking import Arguments, growth, measure


class Queues:
    """A contender that keeps everything in memory; with ``deaf`` it loses what is sent."""

    def __init__(self, *, deaf: bool = False) -> None:
        self._deaf = deaf
        self._queues: dict[str, list[asyncio.Queue[float]]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def wait_for_messages(self, name: str, count: int) -> None:
        self._read(name, name, count)

    async def wait_for_event(self, name: str) -> None:
        self._read(name, name, 1)

    async def wait_for_news(self, name: str) -> None:
        self._read(name, "news", 1)

    async def wait_until(self, name: str, due: float) -> None:
        asyncio.get_running_loop().call_later(due - time.time() + 0.01, ARRIVALS.fired, f"{name}:0", due)

    async def publish(self, name: str, sent: float) -> None:
        if not self._deaf or name == "warm":
            for queue in self._queues[name]:
                queue.put_nowait(sent)

    async def post(self, name: str, sent: float) -> None:
        await self.publish(name, sent)

    async def broadcast(self, sent: float) -> None:
        await self.publish("news", sent)

    def _read(self, name: str, channel: str, count: int) -> None:
        queue: asyncio.Queue[float] = asyncio.Queue()
        self._queues.setdefault(channel, []).append(queue)

        async def read() -> None:
            for number in range(count):
                ARRIVALS.arrived(f"{name}:{number}", await queue.get())

        self._tasks.append(asyncio.create_task(read()))


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waking, "REST_SECONDS", 0.0)
    monkeypatch.setattr(waking, "MESSAGES_PER_SECOND", 1000)
    ARRIVALS.forget()
    ARRIVALS.errors.clear()


@pytest.mark.parametrize("load", ["publish", "post", "broadcast", "timers", "stream"])
async def test_every_wait_is_counted_once_after_one_to_warm_up(
    load: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await measure(Queues(), Arguments("", count=30, load=load, allowance=0.2))
    result = json.loads(capsys.readouterr().out)
    assert (result["size"], result["completed"], result["errors"]) == (30, 30, 0)
    assert (result["per_second"] is None) == (load in {"publish", "post"})
    assert [*result["figures"]] == (["last/first"] if load == "stream" else [])


async def test_what_does_not_arrive_is_an_error_and_counts_for_no_speed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(waking, "ARRIVAL_LIMIT", 0.05)
    await measure(Queues(deaf=True), Arguments("", count=4, load="broadcast", allowance=0))
    result = json.loads(capsys.readouterr().out)
    assert (result["completed"], result["errors"], result["per_second"]) == (0, 4, 0.0)
    assert result["first_error"] == "not arrived within 0 s"


async def test_a_load_that_takes_too_long_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(waking, "LOAD_LIMIT", 0.05)
    await measure(Queues(deaf=True), Arguments("", count=4, load="broadcast", allowance=0))
    assert json.loads(capsys.readouterr().out)["first_error"] == "not reached in the 0 s of a measurement"


async def test_timers_that_are_due_before_all_wait_measure_nothing() -> None:
    with pytest.raises(SystemExit, match="not all workflows waited"):
        await measure(Queues(), Arguments("", count=2, load="timers", allowance=-1.0))


def test_growth_compares_the_last_tenth_with_the_first() -> None:
    flat = [float(i) for i in range(101)]
    assert growth(flat) == 1.0
    assert growth([*flat, *(101 + 2.0 * i for i in range(1, 11))]) == pytest.approx(2.0, rel=0.1)
    assert growth(flat[:5]) is None
