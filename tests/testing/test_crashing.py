"""A scenario of a user whose worker dies at each commit."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select

from edda import WorkflowContext, activity, wait_event, workflow
from edda.testing import Surroundings, crash_at, crash_at_every_write
from tests.support import rows

numbers: Iterator[int] = itertools.count()


@activity
async def book(ctx: WorkflowContext, item: str) -> str:
    await rows.put(ctx, item)
    return f"booked {item}"


@activity
async def bill(ctx: WorkflowContext, amount: int) -> str:
    return f"billed {amount}"


@workflow
async def booking(ctx: WorkflowContext, item: str) -> str:
    await bill(ctx, 3)
    booked = await book(ctx, item)
    paid = await wait_event(ctx, "booking.paid", timeout_seconds=86_400)
    return f"{booked}, {paid.data}"


@workflow
async def remembering(ctx: WorkflowContext) -> int:
    await bill(ctx, 1)
    await bill(ctx, 2)
    return next(numbers)


async def paid(env: Surroundings) -> None:
    env.fake(bill, returns="billed", raises=ConnectionError("busy"), times=2)
    instance_id = await booking.start(item="room")
    await env.send_event("booking.paid", "in full")
    assert await env.result(instance_id) == "booked room, in full"


async def booked_rows(env: Surroundings) -> list[str]:
    async with env.app.storage.engine.connect() as connection:
        return list(await connection.scalars(select(rows.notes.c.text)))


async def test_the_end_is_the_same_at_whichever_commit_the_worker_dies() -> None:
    report = crash_at_every_write(paid, booked_rows, metadata=rows.Base.metadata)
    steps = [write for writes in report.commits for write in writes]
    assert {"StepRecorded bill:1", "StepRecorded book:1", "RunFinished", "EventsAccepted"} <= set(steps)
    assert report.crashes >= 2 * len(report.commits) - 2  # which writes share a commit varies a little


def test_it_dies_at_one_step_alone() -> None:
    report = crash_at("bill:1", paid, metadata=rows.Base.metadata)
    assert report.crashes == 2


def test_a_step_that_there_is_not_is_told_with_those_there_are() -> None:
    with pytest.raises(LookupError, match=r"No step 'bill:2' is recorded. There are: bill:1"):
        crash_at("bill:2", paid, metadata=rows.Base.metadata)


def test_a_scenario_that_ends_differently_by_itself_is_told_first() -> None:
    async def scenario(env: Surroundings) -> None:
        env.fake(bill, returns="billed")
        await env.result(await remembering.start())

    with pytest.raises(AssertionError, match="The scenario itself ends in different ways"):
        crash_at_every_write(scenario)


def test_an_end_that_a_crash_changes_is_found() -> None:
    runs: list[int] = []

    async def scenario(env: Surroundings) -> None:
        env.fake(bill, returns="billed")
        await env.result(await env.start(remembering_runs))

    @workflow
    async def remembering_runs(ctx: WorkflowContext) -> str:
        runs.append(1)
        first = sum(runs) == 1
        await bill(ctx, 1)
        return "first run" if first else "a later run"

    async def check(env: Surroundings) -> None:
        runs.clear()

    with pytest.raises(AssertionError) as caught:
        crash_at("bill:1", scenario, check)
    assert "The worker dies before commit" in str(caught.value)
    assert "StepRecorded bill:1" in str(caught.value)
    assert "+                'output': {'result': 'a later run'}" in str(caught.value)


def test_an_effect_outside_that_a_crash_adds_is_found() -> None:
    attempts: list[int] = []

    async def scenario(env: Surroundings) -> None:
        env.fake(bill, returns="billed")
        await env.result(await env.start(billing_by_run))

    @workflow
    async def billing_by_run(ctx: WorkflowContext) -> None:
        attempts.append(1)
        await bill(ctx, len(attempts))

    async def check(env: Surroundings) -> None:
        attempts.clear()

    with pytest.raises(AssertionError, match=r"Calls of activities"):
        crash_at("bill:1", scenario, check)


def test_errors_of_the_scenario_come_through() -> None:
    async def scenario(env: Surroundings) -> Any:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        crash_at_every_write(scenario)


def test_nothing_is_heard_of_the_dead(caplog: pytest.LogCaptureFixture) -> None:
    crash_at("bill:1", paid, metadata=rows.Base.metadata)
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
