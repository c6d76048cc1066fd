"""Many waiting instances that are woken at once: what that costs in statements and connections."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, event

from edda import WorkflowContext, publish, receive, sleep_until, subscribe, workflow
from edda.app import EddaApp
from tests.support.apps import Apps, always_replay, engine_of, reached, result_of
from tests.support.eventually import until
from tests.support.statements import Statements, counted

MANY = 60

seen: list[object] = []
runs: list[weakref.ref[Any]] = []


@workflow
async def fanned_out_listener(ctx: WorkflowContext) -> object:
    await subscribe(ctx, "news")
    message = await receive(ctx, "news")
    seen.append(message.data)
    return message.data


@workflow
async def fanned_out_sleeper(ctx: WorkflowContext, until: str) -> None:
    await sleep_until(ctx, datetime.fromisoformat(until))
    seen.append(until)


@workflow
async def fanned_out_memory(ctx: WorkflowContext) -> None:
    runs.append(weakref.ref(ctx.run))
    await subscribe(ctx, "news")
    await receive(ctx, "news")


@pytest.fixture(autouse=True)
def _forget() -> None:
    seen.clear()
    runs.clear()


@contextmanager
def connections_made() -> Iterator[list[object]]:
    """What the pools connect in the block."""
    made: list[object] = []

    def note(connection: object, _: object) -> None:
        made.append(connection)

    event.listen(Engine, "connect", note)
    try:
        yield made
    finally:
        event.remove(Engine, "connect", note)


async def _woken_at_once(app: EddaApp) -> tuple[Statements, int]:
    """The statements until all listeners have ended, and how many connections that took."""
    ids = await asyncio.gather(*(fanned_out_listener.start() for _ in range(MANY)))
    with counted() as statements, connections_made() as made:
        await publish(app.storage, "news", 7)
        await until(lambda: len(seen) == MANY and engine_of(app).running == 0)
    for instance_id in ids:
        assert await result_of(app, instance_id) == 7
    return statements, len(made)


@pytest.mark.resident
async def test_a_broadcast_to_resident_runs_reads_nothing_that_they_know(app: EddaApp) -> None:
    statements, connections = await _woken_at_once(app)
    for table in ("workflow_history", "workflow_waits", "workflow_subscriptions"):
        assert not statements.containing(f"FROM {table} WHERE", "SELECT"), table
    assert len(statements.containing("UPDATE workflow_instances", "lease_token")) <= MANY / 2
    assert connections <= 2


async def test_a_broadcast_to_runs_that_are_replayed_loads_them_together(app: EddaApp) -> None:
    always_replay(app)
    statements, connections = await _woken_at_once(app)
    for table in ("workflow_history", "workflow_waits", "workflow_subscriptions"):
        reads = [text for text in statements.texts if text.startswith("SELECT") and f"FROM {table} " in text]
        assert 1 <= len(reads) <= MANY / 4, reads
    # One at a time they would take a dozen each.
    written = [text for text in statements.texts if not text.startswith("SELECT workflow_messages")]
    assert len(written) <= 3 * MANY, "\n".join(written)
    assert statements.commits <= MANY
    assert connections <= 2


@pytest.mark.resident
async def test_no_more_runs_stay_in_memory_than_the_limit(apps: Apps) -> None:
    app = apps.make()
    app.resident_limit = 5
    await app.initialize()
    await asyncio.gather(*(fanned_out_memory.start() for _ in range(20)))
    await until(lambda: _in_memory() == engine_of(app).resident == 5)


async def test_timers_of_one_moment_cost_a_few_queries(app: EddaApp) -> None:
    moment = (datetime.now(UTC) + timedelta(seconds=3)).isoformat()
    with counted() as statements, connections_made() as made:
        await asyncio.gather(*(fanned_out_sleeper.start(until=moment) for _ in range(MANY)))
        await until(lambda: len(seen) == MANY and engine_of(app).running == 0)
    # The starts are among them.
    assert len(statements.containing("SELECT", "FROM workflow_waits ")) <= MANY / 4
    assert len(statements.texts) <= 4 * MANY, "\n".join(statements.texts)
    assert len(made) <= 2


async def test_a_run_that_is_over_leaves_nothing_to_the_garbage_collector(app: EddaApp) -> None:
    """Collecting the cycles of thousands of runs stops everything for as long as it takes."""
    ids = [await fanned_out_memory.start() for _ in range(3)]
    gc.collect()
    gc.disable()
    try:
        await publish(app.storage, "news", 7)
        for instance_id in ids:
            await reached(app, instance_id)
        await until(lambda: all(run() is None for run in runs))
    finally:
        gc.enable()


def _in_memory() -> int:
    gc.collect()  # the signal that ends a run has a traceback, which leads back to it
    return sum(run() is not None for run in runs)
