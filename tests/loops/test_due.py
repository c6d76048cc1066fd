"""Picking up what is due."""

from __future__ import annotations

import asyncio

import pytest

from edda import WorkflowContext, activity, clock, sleep, workflow
from edda.app import EddaApp
from tests.support.apps import Apps, instance, reached
from tests.support.eventually import eventually
from tests.support.statements import counted

calls: list[str] = []


@activity
async def note(ctx: WorkflowContext, text: str) -> None:
    calls.append(text)


@workflow
async def nap_and_note(ctx: WorkflowContext, seconds: float, text: str) -> None:
    await sleep(ctx, seconds)
    await note(ctx, text)


@pytest.fixture(autouse=True)
def _forget_calls() -> None:
    calls.clear()


async def test_several_workers_share_what_is_due_and_nothing_runs_twice(apps: Apps) -> None:
    parking = await apps.start()
    ids = await asyncio.gather(*(nap_and_note.start(seconds=0.3, text=str(n)) for n in range(60)))
    await parking.shutdown()
    workers = await asyncio.gather(*(apps.start() for _ in range(3)))
    for instance_id in ids:
        await reached(workers[0], instance_id)
    assert sorted(calls, key=int) == [str(number) for number in range(60)]


async def test_a_full_batch_is_followed_by_the_next_at_once(apps: Apps) -> None:
    parking = await apps.start()
    ids = await asyncio.gather(*(nap_and_note.start(seconds=0.1, text=str(n)) for n in range(30)))
    await parking.shutdown()
    app = await apps.start(max_workflows_per_batch=2)
    began = clock.monotonic()
    for instance_id in ids:
        await reached(app, instance_id)
    assert clock.monotonic() - began < 5
    assert len(calls) == 30


async def test_a_long_run_delays_no_other(app: EddaApp) -> None:
    go_on = asyncio.Event()

    @workflow
    async def long(ctx: WorkflowContext) -> None:
        await sleep(ctx, 0.02)
        calls.append("long")
        await go_on.wait()

    long_id = await long.start()
    await eventually(lambda: _check(calls == ["long"]))
    ids = [await nap_and_note.start(seconds=0.05, text="short") for _ in range(5)]
    for instance_id in ids:
        await reached(app, instance_id, within=3)
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
    loop = app._require_worker()._due
    await loop.stop()
    with counted() as statements:
        pause = await loop.round()
    assert len([text for text in statements.texts if text.startswith("SELECT")]) == 1
    assert statements.commits == 0
    assert 1 <= pause <= 1.3


def _check(condition: bool) -> None:
    assert condition
