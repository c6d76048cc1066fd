"""What a test does to an app and sees of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from edda import (
    EventTimeoutError,
    RetryPolicy,
    WorkflowContext,
    activity,
    gather,
    publish,
    receive,
    send_event_transactional,
    sleep,
    subscribe,
    wait_event,
    workflow,
)
from edda.app import EddaApp
from edda.exceptions import RetryExhaustedError, WorkflowCancelledException
from edda.testing import WorkflowEnvironment
from tests.support import rows

DAY = 86_400
START = datetime(2030, 1, 1, tzinfo=UTC)


@activity
async def fetch(ctx: WorkflowContext, name: str = "x") -> str:
    return f"fetched {name}"


@activity(retry_policy=RetryPolicy(initial_interval=3600.0, max_interval=3600.0, max_duration=None))
async def fetch_patiently(ctx: WorkflowContext) -> str:
    return "fetched"


@workflow
async def monthly(ctx: WorkflowContext, months: int) -> list[datetime]:
    times = []
    for _ in range(months):
        await sleep(ctx, 30 * DAY)
        times.append(await ctx.now())
    return times


@workflow
async def fetching(ctx: WorkflowContext) -> str:
    return await fetch(ctx)


@workflow
async def fetching_twice(ctx: WorkflowContext) -> list[str]:
    return list(await gather(fetch(ctx, "a"), fetch(ctx, "b")))


@workflow
async def fetching_patiently(ctx: WorkflowContext) -> str:
    return await fetch_patiently(ctx)


@workflow
async def paying(ctx: WorkflowContext) -> Any:
    try:
        return (await wait_event(ctx, "paid", timeout_seconds=3 * DAY)).data
    except EventTimeoutError:
        return "too late"


@workflow
async def hearing_out(ctx: WorkflowContext, channel: str, mode: str) -> Any:
    await subscribe(ctx, channel, mode)
    return (await receive(ctx, channel)).data


@workflow
async def telling_here(ctx: WorkflowContext) -> None:
    await publish(ctx, "surroundings-told", "it")
    await announced(ctx)


@activity
async def announced(ctx: WorkflowContext) -> None:
    await send_event_transactional(ctx, "told", "/test", {"n": 1})


@workflow
async def counting_down(ctx: WorkflowContext, left: int) -> str:
    if left:
        await ctx.recur(left=left - 1)
    return "done"


@workflow(event_handler=True)
async def surroundings_started(ctx: WorkflowContext, n: int) -> int:
    return n


@pytest.fixture
async def env() -> AsyncIterator[WorkflowEnvironment]:
    async with WorkflowEnvironment(start_time=START) as env:
        yield env


async def test_a_year_passes_at_once_and_everything_in_it_at_its_time(env: WorkflowEnvironment) -> None:
    instance_id = await env.start(monthly, months=12)
    await env.advance(timedelta(days=365))
    times = await env.result(instance_id)
    steps = [time - START for time in times]
    assert [step.days for step in steps] == [30 * (n + 1) for n in range(12)]
    assert max(steps).seconds < 3600


async def test_advancing_stops_before_what_is_not_due_yet(env: WorkflowEnvironment) -> None:
    instance_id = await env.start(monthly, months=2)
    await env.advance(timedelta(days=29))
    assert (await env.instance(instance_id))["current_activity_id"] == "sleep:1"
    await env.advance(2 * DAY)
    assert (await env.instance(instance_id))["current_activity_id"] == "sleep:2"


async def test_time_does_not_go_backwards(env: WorkflowEnvironment) -> None:
    with pytest.raises(ValueError, match="backwards"):
        await env.advance(-1)


async def test_skipping_says_how_far_it_was(env: WorkflowEnvironment) -> None:
    await env.start(monthly, months=1)
    skipped = await env.skip_to_next_timer()
    assert timedelta(days=29) < skipped < timedelta(days=31)


async def test_skipping_where_nothing_waits_for_a_time_says_who_waits_for_what(
    env: WorkflowEnvironment,
) -> None:
    with pytest.raises(LookupError, match="No instance is live"):
        await env.skip_to_next_timer()
    await env.start(hearing_out, channel="surroundings-quiet", mode="broadcast")
    with pytest.raises(LookupError, match="waiting_for_message at receive_surroundings-quiet:1"):
        await env.skip_to_next_timer()


async def test_the_result_comes_after_all_timers(env: WorkflowEnvironment) -> None:
    assert await env.result(await env.start(paying)) == "too late"
    assert env.now - START > timedelta(days=3)


async def test_the_result_of_an_instance_that_waits_for_ever_is_told_at_once(
    env: WorkflowEnvironment,
) -> None:
    instance_id = await env.start(hearing_out, channel="surroundings-silent", mode="broadcast")
    with pytest.raises(LookupError, match=r"does not end.*receive_surroundings-silent:1"):
        await env.result(instance_id)
    with pytest.raises(LookupError, match="no instance 'unknown'"):
        await env.result("unknown")


async def test_the_error_of_a_workflow_is_raised_by_the_result(env: WorkflowEnvironment) -> None:
    env.fake(fetch, raises=ConnectionError("down"))
    instance_id = await env.start(fetching)
    with pytest.raises(RetryExhaustedError) as caught:
        await env.result(instance_id)
    assert isinstance(caught.value.__cause__, ConnectionError)


async def test_a_cancelled_instance_raises_that(env: WorkflowEnvironment) -> None:
    instance_id = await env.start(paying)
    assert env.app.replay_engine is not None
    assert await env.app.replay_engine.cancel_workflow(instance_id)
    with pytest.raises(WorkflowCancelledException):
        await env.result(instance_id)


async def test_the_result_of_a_chain_is_that_of_its_last_instance(env: WorkflowEnvironment) -> None:
    assert await env.result(await env.start(counting_down, left=3)) == "done"


async def test_wrong_arguments_are_raised_by_the_start(env: WorkflowEnvironment) -> None:
    with pytest.raises(TypeError):
        await env.start(monthly)
    assert await env.instances() == []


async def test_short_back_offs_take_no_time(env: WorkflowEnvironment) -> None:
    fake = env.fake(fetch, raises=OSError("busy"), times=3)
    before = env.now
    assert await env.result(await fetching.start()) == "fetched x"
    assert len(fake.calls) == 4
    assert timedelta(seconds=7) <= env.now - before < timedelta(minutes=5)  # 1 + 2 + 4


async def test_short_back_offs_side_by_side_take_no_time(env: WorkflowEnvironment) -> None:
    fake = env.fake(fetch, raises=OSError("busy"), times=4)
    assert await env.result(await fetching_twice.start()) == ["fetched a", "fetched b"]
    assert len(fake.calls) == 6


async def test_long_back_offs_are_timers(env: WorkflowEnvironment) -> None:
    env.fake(fetch_patiently, raises=OSError("busy"), times=2)
    instance_id = await env.start(fetching_patiently)
    assert (await env.instance(instance_id))["status"] == "waiting_for_timer"
    assert await env.skip_to_next_timer() > timedelta(minutes=50)
    assert (await env.instance(instance_id))["status"] == "waiting_for_timer"
    assert await env.result(instance_id) == "fetched"


async def test_an_event_is_delivered_with_all_that_follows(env: WorkflowEnvironment) -> None:
    instance_id = await env.start(paying)
    await env.send_event("paid", {"amount": 3}, source="/bank", subject="o-1")
    assert (await env.instance(instance_id))["status"] == "completed"
    assert await env.result(instance_id) == {"amount": 3}


async def test_an_event_starts_workflows(env: WorkflowEnvironment) -> None:
    await env.send_event("surroundings_started", {"n": 4})
    [instance] = await env.instances(workflow_name="surroundings_started")
    assert await env.result(instance["instance_id"]) == 4


async def test_a_message_is_published_and_sent_to_one(env: WorkflowEnvironment) -> None:
    first = await env.start(hearing_out, channel="surroundings-both", mode="broadcast")
    second = await env.start(hearing_out, channel="surroundings-own", mode="direct")
    third = await env.start(hearing_out, channel="surroundings-own", mode="direct")
    await env.publish("surroundings-both", {"to": "all"}, {"about": "them"})
    await env.send_to(second, "you", channel="surroundings-own")
    statuses = [(await env.instance(each))["status"] for each in (first, second, third)]
    assert statuses == ["completed", "completed", "waiting_for_message"]
    assert await env.result(first) == {"to": "all"}
    assert await env.result(second) == "you"


async def test_events_of_the_outbox_are_seen(env: WorkflowEnvironment) -> None:
    await env.start(telling_here)
    [event] = await env.outbox()
    assert (event["event_type"], event["event_data"]) == ("told", {"n": 1})


async def test_retention_follows_the_clock() -> None:
    app = EddaApp("kept", "sqlite:///:memory:")
    app.instance_retention_days = 3
    async with WorkflowEnvironment(app) as env:
        instance_id = await env.start(fetching)
        await env.advance(timedelta(days=2))
        assert (await env.instance(instance_id))["status"] == "completed"
        await env.advance(timedelta(days=2))
        with pytest.raises(LookupError):
            await env.instance(instance_id)


async def test_activities_use_tables_of_the_user(env: WorkflowEnvironment) -> None:
    await env.create_tables(rows.Base.metadata)
    await env.result(await env.start(rows.put_one, name="chair"))
    assert await rows.rows(env.app) == ["chair"]


async def test_what_keeps_busy_is_named_when_patience_is_over() -> None:
    begun, over = asyncio.Event(), asyncio.Event()

    async def hang(ctx: WorkflowContext, name: str) -> str:
        begun.set()
        await over.wait()
        return name

    async with WorkflowEnvironment(patience=0.2) as env:
        env.fake(fetch, does=hang)
        start = asyncio.create_task(fetching.start())
        await begun.wait()
        with pytest.raises(TimeoutError, match=r"fetching \(.*\) in fetch:1"):
            await env.wait_until_idle()
        over.set()
        await start
