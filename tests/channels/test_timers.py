"""Durable timers."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from edda import WorkflowContext, activity, clock, sleep, sleep_until, wait_timer, wait_until, workflow
from edda.app import EddaApp
from tests.support.apps import Apps, always_replay, instance, reached, result_of, steps_of
from tests.support.eventually import eventually

# How late a timer is, is a matter of benchmarks. Here only its own time can be why it fires at all.
without_polls = pytest.mark.usefixtures("no_polls")


@workflow
async def nap(ctx: WorkflowContext, seconds: float) -> float:
    began = clock.monotonic()
    await sleep(ctx, seconds)
    return clock.monotonic() - began


def test_the_other_names_are_the_same_functions() -> None:
    assert (wait_timer, wait_until) == (sleep, sleep_until)


@pytest.mark.resident
@without_polls
@pytest.mark.parametrize("resident", [True, False])
async def test_a_timer_is_never_early_and_needs_no_poll(app: EddaApp, resident: bool) -> None:
    @workflow
    async def naps(ctx: WorkflowContext) -> None:
        began.append(clock.monotonic())
        for _ in range(4):
            await sleep(ctx, 0.1)
            if not ctx.is_replaying:
                ended.append(clock.monotonic())

    began: list[float] = []
    ended: list[float] = []
    if not resident:
        always_replay(app)
    await reached(app, await naps.start())

    instants = [began[0], *ended]
    took = [after - before for before, after in pairwise(instants)]
    assert all(seconds >= 0.1 for seconds in took), took
    assert len(began) == (1 if resident else 5)


async def test_an_expired_timer_is_recorded_with_its_id_and_instant(app: EddaApp) -> None:
    instance_id = await nap.start(seconds=0.01)
    await reached(app, instance_id)

    (row,) = await app.storage.get_history(instance_id)
    data: Any = row["event_data"]
    assert (row["activity_id"], row["event_type"]) == ("sleep:1", "TimerExpired")
    assert set(data) == {"result", "timer_id", "expires_at"}
    assert (data["result"], data["timer_id"]) == (None, "sleep:1")
    assert datetime.fromisoformat(data["expires_at"]).utcoffset() == timedelta(0)


async def test_zero_and_less_are_over_without_a_suspension(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await sleep(ctx, 0)
        await sleep(ctx, -5)
        await sleep_until(ctx, datetime(2001, 1, 1, tzinfo=UTC))

    instance_id = await flow.start()

    await reached(app, instance_id)
    assert [step for step, _ in await steps_of(app, instance_id)] == ["sleep:1", "sleep:2", "sleep_until:1"]


async def test_a_timer_may_have_an_id_of_its_own_and_only_once(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await sleep(ctx, 0, timer_id="rest")
        with pytest.raises(ValueError, match="Activity ID 'rest' is already used in this workflow run"):
            await sleep_until(ctx, datetime(2001, 1, 1, tzinfo=UTC), timer_id="rest")

    instance_id = await flow.start()
    assert await steps_of(app, instance_id) == [("rest", "TimerExpired")]


async def test_a_naive_datetime_is_refused(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await sleep_until(ctx, datetime(2030, 1, 1))  # noqa: DTZ001 - the error of users

    with pytest.raises(ValueError, match="target_time must be timezone-aware"):
        await flow.start()


@pytest.mark.parametrize("seconds", ["1", None, True, float("nan")])
async def test_what_is_no_number_of_seconds_is_refused(app: EddaApp, seconds: Any) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await sleep(ctx, seconds)

    with pytest.raises(TypeError, match="seconds must be a number"):
        await flow.start()


@without_polls
@pytest.mark.parametrize(
    "zone",
    [
        timezone(timedelta(hours=9)),
        timezone(timedelta(hours=-5)),
        ZoneInfo("Asia/Kolkata"),
        ZoneInfo("Europe/Paris"),
    ],
    ids=str,
)
async def test_an_instant_of_any_zone_is_the_same_instant(app: EddaApp, zone: Any) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> str:
        await sleep_until(ctx, target)
        return clock.now().isoformat()

    target = (clock.now() + timedelta(seconds=0.15)).astimezone(zone)
    late = datetime.fromisoformat(await result_of(app, await flow.start())) - target

    assert late >= timedelta(0)


async def test_the_due_time_of_an_instant_is_shown_in_utc(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await sleep_until(ctx, datetime(2090, 7, 1, 9, tzinfo=ZoneInfo("Asia/Tokyo")))

    row = await app.storage.load_instance(await flow.start())
    assert row is not None
    assert row.due_at == datetime(2090, 7, 1, 0, tzinfo=UTC)


async def test_the_due_time_is_fixed_when_the_timer_is_first_reached(apps: Apps) -> None:
    first = await apps.start()
    instance_id = await nap.start(seconds=3600)
    due_at = await _due_at(first, instance_id)
    await nap.resume(instance_id)
    assert await _due_at(first, instance_id) == due_at
    await first.shutdown()

    second = await apps.start()
    assert await _due_at(second, instance_id) == due_at
    with second.activate():
        await nap.resume(instance_id)
    assert await _due_at(second, instance_id) == due_at


@without_polls
async def test_the_worker_looks_again_when_the_timer_is_due(app: EddaApp) -> None:
    loop = app._require_worker()._due

    def check(earliest: float, latest: float) -> None:
        assert earliest <= loop._next_at - clock.monotonic() <= latest

    await eventually(lambda: check(3000, 3600))
    await nap.start(seconds=1000)
    await eventually(lambda: check(900, 1000))


async def test_another_worker_fires_the_timer_when_the_first_is_gone(apps: Apps) -> None:
    first = await apps.start()
    second = await apps.start()
    with first.activate():
        instance_id = await nap.start(seconds=0.3)
    await first.shutdown()

    assert await result_of(second, instance_id) >= 0


@pytest.mark.resident
@without_polls
async def test_many_timers_due_at_once_do_not_wait_for_each_other(app: EddaApp) -> None:
    ids = [await nap.start(seconds=0.3) for _ in range(20)]
    took = [await result_of(app, instance_id) for instance_id in ids]
    assert all(seconds >= 0.3 for seconds in took), took


@without_polls
async def test_due_timers_do_not_wait_for_what_others_do_after_theirs(app: EddaApp) -> None:
    fired: list[float] = []
    released = asyncio.Event()

    @activity
    async def long(ctx: WorkflowContext) -> None:
        fired.append(clock.monotonic())
        await released.wait()

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await sleep(ctx, 0.3)
        await long(ctx)

    ids = await asyncio.gather(*(flow.start() for _ in range(20)))

    def check() -> None:
        assert len(fired) == 20

    await eventually(check)
    released.set()
    for instance_id in ids:
        await reached(app, instance_id)


async def test_a_sleep_longer_than_any_database_can_add_just_waits(app: EddaApp) -> None:
    row = await instance(app, await nap.start(seconds=1e300))
    assert row["status"] == "waiting_for_timer"


async def _due_at(app: EddaApp, instance_id: str) -> datetime:
    row = await app.storage.load_instance(instance_id)
    assert row is not None
    assert row.due_at is not None
    return row.due_at
