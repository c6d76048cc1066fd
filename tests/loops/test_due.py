"""Picking up what is due."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from edda import WorkflowContext, clock, sleep, workflow
from edda.app import EddaApp
from edda.loops.due import DueLoop
from edda.places import Places
from tests.support.apps import Apps, instance, reached, stop_claiming
from tests.support.eventually import until
from tests.support.noting import calls, note
from tests.support.statements import counted
from tests.support.writes import unleased


@workflow
async def nap_and_note(ctx: WorkflowContext, seconds: float, text: str) -> None:
    await sleep(ctx, seconds)
    await note(ctx, text)


async def test_several_workers_share_what_is_due_and_nothing_runs_twice(apps: Apps) -> None:
    parking = await apps.start()
    ids = await asyncio.gather(*(nap_and_note.start(seconds=0.3, text=str(n)) for n in range(60)))
    await parking.shutdown()
    workers = await asyncio.gather(*(apps.start() for _ in range(3)))
    for instance_id in ids:
        await reached(workers[0], instance_id)
    assert sorted(calls, key=int) == [str(number) for number in range(60)]


async def test_a_full_batch_is_followed_by_the_next_at_once(no_polls: None, apps: Apps) -> None:
    parking = await apps.start()
    ids = await asyncio.gather(*(nap_and_note.start(seconds=0.1, text=str(n)) for n in range(30)))
    await parking.shutdown()
    app = await apps.start(max_workflows_per_batch=2)
    for instance_id in ids:
        await reached(app, instance_id)
    assert len(calls) == 30


@pytest.mark.parametrize(("batch", "claims"), [("auto", 1), (10, 2), (500, 1)])
async def test_what_is_ready_is_claimed_in_a_few_statements_whatever_the_batch(
    apps: Apps, batch: int | str, claims: int
) -> None:
    parking = await apps.start()
    await stop_claiming(parking)
    new = [
        unleased(workflow_name="nap_and_note", input_data=f'{{"seconds":0,"text":"{number}"}}')
        for number in range(95)
    ]
    await asyncio.gather(*(parking.storage.submit(write) for write in new))
    with counted() as statements:
        app = await apps.start(max_workflows_per_batch=batch)
        for write in new:
            await reached(app, write.instance_id)
    assert len(calls) == 95
    # After the first full batch all that there is room for, and at the end a look for more.
    assert len(statements.containing("UPDATE workflow_instances", "status=CASE")) == claims


async def test_a_long_run_delays_no_other(app: EddaApp) -> None:
    go_on = asyncio.Event()

    @workflow
    async def long(ctx: WorkflowContext) -> None:
        await sleep(ctx, 0.02)
        calls.append("long")
        await go_on.wait()

    long_id = await long.start()
    await until(lambda: calls == ["long"])
    ids = [await nap_and_note.start(seconds=0.05, text="short") for _ in range(5)]
    for instance_id in ids:
        await reached(app, instance_id)
    assert (await instance(app, long_id))["status"] == "running"
    go_on.set()
    await reached(app, long_id)


async def test_no_more_run_at_once_than_the_limit(apps: Apps) -> None:
    app = apps.make()
    app.max_concurrent_workflows = 3
    await app.initialize()
    running: list[int] = []
    most: list[int] = []

    @workflow
    async def busy(ctx: WorkflowContext) -> None:
        await sleep(ctx, 0.2)
        running.append(1)
        most.append(len(running))
        await note(ctx, "busy")
        running.pop()

    ids = await asyncio.gather(*(busy.start() for _ in range(15)))
    for instance_id in ids:
        await reached(app, instance_id)
    assert max(most) <= 3
    assert len(calls) == 15


async def test_looking_costs_one_statement(app: EddaApp) -> None:
    await _told_as_ever(app)
    loop = app._require_worker()._due
    await loop.stop()
    await app._require_worker().leader.stop()  # which says at times that it still leads
    with counted() as statements:
        seconds = await loop.round()
    assert len([text for text in statements.texts if text.startswith("SELECT")]) == 1
    assert statements.commits == 0
    shortest = app.settings.told_poll_interval if app.storage.hears_others else 1
    assert shortest <= seconds <= shortest * 1.3


async def test_an_idle_worker_asks_once_in_each_interval(apps: Apps, monkeypatch: pytest.MonkeyPatch) -> None:
    app = await apps.start(leader_lease_duration=3)  # so it is a second, told or not
    loop = app._require_worker()._due
    await loop.stop()
    await app._require_worker().leader.stop()  # which says at times that it still leads
    ask, asked_at = loop.round, list[float]()

    async def note_and_ask() -> float:
        asked_at.append(clock.monotonic())
        return await ask()

    monkeypatch.setattr(loop, "round", note_and_ask)
    with counted() as statements:
        loop.start()
        await until(lambda: len(asked_at) >= 3)
        await loop.stop()
    assert all(later - earlier >= 1 for earlier, later in pairwise(asked_at))
    assert len(statements.texts) == len(asked_at)
    assert statements.commits == 0


class _Locked:
    """A storage, and an engine, with something due that cannot be claimed."""

    claimed: tuple[Any, ...] = ()

    async def seconds_until_due(self, _names: object) -> float:
        return 0.0

    async def submit(self, _write: object) -> tuple[Any, ...]:
        return self.claimed

    def workflow_names(self) -> list[str]:
        return []

    def run_claimed(self, _instance: object) -> None: ...

    def spawn(self, _work: object) -> asyncio.Future[None]:
        return asyncio.get_running_loop().create_future()


async def test_what_stays_locked_is_tried_less_and_less_often() -> None:
    """Somebody may hold the row of an instance for as long as he likes."""
    locked: Any = _Locked()
    loop = DueLoop(
        locked,
        engine=locked,
        worker_id="me",
        lease_seconds=30,
        batch=lambda: 10,
        places=Places(10),
        poll_pause=lambda: 1.0,
    )
    pauses = [await loop.round() for _ in range(12)]
    assert pauses == [min(1.0, 0.01 * 2**number) for number in range(1, 13)]
    locked.claimed = (object(),)
    assert await loop.round() == 0.01
    locked.claimed = ()
    assert await loop.round() == 0.02


async def _told_as_ever(app: EddaApp) -> None:
    """Wait until the app has looked for what it missed before it heard others."""
    loop = app._require_worker()._due
    rest = 2 if app.storage.hears_others else 0
    await until(lambda: rest < loop._next_at - clock.monotonic() < 60)
