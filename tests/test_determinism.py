"""Time, chance and logging of a body: the same in every replay."""

from __future__ import annotations

import logging
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from edda import RetryPolicy, WorkflowContext, activity, race, sleep, workflow
from edda.app import EddaApp
from edda.ids import derived_key
from tests.support.apps import always_replay, reached, result_of, steps_of


@activity
async def draw_inside(ctx: WorkflowContext) -> str:
    return f"{ctx.uuid4()} {ctx.random().random()} {(await ctx.now()).tzinfo}"


async def test_the_time_is_recorded_and_the_same_on_replay(app: EddaApp) -> None:
    seen: list[datetime] = []

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        seen.append(await ctx.now())
        await sleep(ctx, 0.01)
        seen.append(await ctx.now())

    always_replay(app)
    before = datetime.now(UTC)
    instance_id = await flow.start()
    await reached(app, instance_id)

    assert await steps_of(app, instance_id) == [
        ("now:1", "TimeRead"),
        ("sleep:1", "TimerExpired"),
        ("now:2", "TimeRead"),
    ]
    assert seen[0] == seen[1]
    assert before <= seen[0] < seen[2]
    assert {time.utcoffset() for time in seen} == {timedelta(0)}


async def test_uuids_and_generators_differ_by_call_and_by_instance_and_not_by_replay(app: EddaApp) -> None:
    seen: dict[str, list[tuple[Any, ...]]] = {}

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        drawn = (ctx.uuid4(), ctx.uuid4(), ctx.random().random(), ctx.random().random())
        seen.setdefault(ctx.instance_id, []).append(drawn)
        await sleep(ctx, 0.01)

    always_replay(app)
    for instance_id in [await flow.start(), await flow.start()]:
        await reached(app, instance_id)

    first, second = seen.values()
    assert first == [first[0]] * 2
    assert second == [second[0]] * 2
    assert len({*first[0], *second[0]}) == 8
    for drawn in first[0][:2]:
        assert (drawn.version, drawn.variant) == (4, uuid.RFC_4122)


async def test_what_an_activity_draws_does_not_shift_the_body(app: EddaApp) -> None:
    seen: list[uuid.UUID] = []

    @workflow
    async def flow(ctx: WorkflowContext) -> str:
        inside = await draw_inside(ctx)
        seen.append(ctx.uuid4())
        await sleep(ctx, 0.01)
        return inside

    always_replay(app)
    instance_id = await flow.start()
    inside = await result_of(app, instance_id)

    assert seen[0] == seen[1]
    assert str(seen[0]) not in inside
    assert [step for step, _ in await steps_of(app, instance_id)] == ["draw_inside:1", "sleep:1"]


async def test_all_attempts_of_an_activity_draw_the_same(app: EddaApp) -> None:
    seen: list[uuid.UUID] = []

    @activity(retry_policy=RetryPolicy(initial_interval=0.01, max_attempts=2))
    async def flaky(ctx: WorkflowContext) -> None:
        seen.append(ctx.uuid4())
        if len(seen) == 1:
            raise OSError("once")

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await flaky(ctx)

    await reached(app, await flow.start())

    assert seen == [seen[0]] * 2


async def test_what_a_branch_of_a_race_draws_does_not_shift_the_body(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> list[str]:
        async def branch() -> str:
            return str(ctx.uuid4())

        first = await race(ctx, one=branch())
        return [first.value, str(ctx.uuid4())]

    instance_id = await flow.start()

    # The values are part of what running instances rely on, so they are spelled out.
    expected = [
        str(uuid.UUID(derived_key(instance_id, place)[:32], version=4))
        for place in ("race:1/one/uuid4:1", "uuid4:1")
    ]
    assert await result_of(app, instance_id) == expected


async def test_the_logger_names_the_instance_and_is_silent_during_replay(
    app: EddaApp, caplog: pytest.LogCaptureFixture
) -> None:
    @activity
    async def work(ctx: WorkflowContext) -> None:
        ctx.logger.warning("working", extra={"more": 1})

    @workflow
    async def logs(ctx: WorkflowContext) -> None:
        ctx.logger.info("begins %s", "here")
        await work(ctx)
        await sleep(ctx, 0.01)
        ctx.logger.info("ends")

    always_replay(app)
    with caplog.at_level(logging.INFO, "edda.workflow.logs"):
        instance_id = await logs.start()
        await reached(app, instance_id)

    records = [record for record in caplog.records if record.name == "edda.workflow.logs"]
    assert [record.getMessage() for record in records] == ["begins here", "working", "ends"]
    assert {(vars(record)["instance_id"], vars(record)["workflow_name"]) for record in records} == {
        (instance_id, "logs")
    }
    assert vars(records[1])["more"] == 1
