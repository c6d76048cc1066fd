"""Progress of a long activity, found by its next attempt."""

from __future__ import annotations

import itertools
import json
import threading
from itertools import pairwise
from typing import Any

import pytest

from edda import RetryExhaustedError, RetryPolicy, WorkflowContext, activity, clock, heartbeat, workflow
from edda.app import EddaApp
from edda.storage.writes import WaitsRegistered
from tests.support.apps import Apps, reached, result_of, stop_claiming
from tests.support.eventually import PATIENCE, eventually, pause

QUICK = RetryPolicy(initial_interval=0.01, backoff_coefficient=1.0, max_attempts=3)


async def test_the_next_attempt_finds_what_the_last_one_reported(app: EddaApp) -> None:
    found: list[Any] = []

    @activity(retry_policy=QUICK)
    async def copy(ctx: WorkflowContext) -> None:
        found.append(ctx.heartbeat_details)
        ctx.heartbeat({"done": (1, len(found))})
        if len(found) < 3:
            raise OSError("no")

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await copy(ctx)

    await flow.start()
    assert found == [None, {"done": (1, 1)}, {"done": (1, 2)}]


async def test_another_worker_finds_it_too(apps: Apps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edda.attempts.PARK_FROM_SECONDS", 0.1)
    found: list[Any] = []

    @activity(retry_policy=RetryPolicy(initial_interval=0.2, max_attempts=3))
    async def copy(ctx: WorkflowContext) -> Any:
        found.append(ctx.heartbeat_details)
        ctx.heartbeat([len(found)])
        if len(found) == 1:
            raise OSError("no")
        return ctx.heartbeat_details

    @workflow
    async def flow(ctx: WorkflowContext) -> Any:
        return await copy(ctx)

    first = await apps.start()
    await stop_claiming(first)
    instance_id = await flow.start()
    await reached(first, instance_id, "waiting_for_timer")
    await first.shutdown()
    second = await apps.start()

    assert await result_of(second, instance_id) == [2]
    assert found == [None, [1]]


async def test_a_report_is_stored_while_the_activity_runs_and_gone_with_its_end(app: EddaApp) -> None:
    stored: list[str | None] = []

    @activity
    async def copy(ctx: WorkflowContext) -> None:
        ctx.heartbeat("half")

        async def check() -> None:
            waits = await app.storage.load_waits(ctx.instance_id)
            assert waits
            stored.append(waits[0].data)

        await eventually(check)

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await copy(ctx)

    instance_id = await flow.start()
    assert "half" in (stored[0] or "")
    assert await app.storage.load_waits(instance_id) == []


async def test_however_often_progress_is_reported_it_is_stored_once_in_an_interval(
    app: EddaApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "_INTERVAL_SECONDS", 0.1)
    submit = app.storage.submit
    stored: list[tuple[float, str]] = []
    reported, found = itertools.count(1), []

    async def watch(write: Any, **options: Any) -> Any:
        if isinstance(write, WaitsRegistered):
            stored.append((clock.monotonic(), str(write.waits[0].data)))
        return await submit(write, **options)

    @activity(retry_policy=QUICK)
    async def copy(ctx: WorkflowContext) -> None:
        found.append(ctx.heartbeat_details)
        if len(found) == 1:
            while len(stored) < 4:
                ctx.heartbeat(next(reported))
                await pause(0)
            ctx.heartbeat("last")
            monkeypatch.setattr(app.storage, "submit", submit)
            raise OSError("no")

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await copy(ctx)

    monkeypatch.setattr(app.storage, "submit", watch)
    await flow.start()

    assert found == [None, "last"]
    assert min(later - earlier for (earlier, _), (later, _) in pairwise(stored)) > 0.09
    values = [json.loads(data)["details"]["value"] for _, data in stored]
    assert values == sorted(values)
    assert next(reported) > values[-1] > 4 * len(stored)


async def test_a_thread_that_was_left_behind_does_not_overwrite_the_reports_of_the_next_attempt(
    app: EddaApp,
) -> None:
    go_on, reported = threading.Event(), threading.Event()
    found: list[Any] = []

    @activity(timeout_seconds=0.3, retry_policy=QUICK)
    def copy(ctx: WorkflowContext) -> Any:
        found.append(ctx.heartbeat_details)
        number = len(found)
        ctx.heartbeat(number)
        if number == 1:
            copy.timeout_seconds = PATIENCE  # the next attempt is to have all the time it needs
            go_on.wait(PATIENCE)
            ctx.heartbeat("late")
            reported.set()
            return None
        go_on.set()
        assert reported.wait(PATIENCE)
        return ctx.heartbeat_details

    @workflow
    async def flow(ctx: WorkflowContext) -> Any:
        return await copy(ctx)

    assert await result_of(app, await flow.start()) == 2
    assert found == [None, 1]


@pytest.mark.parametrize(("details", "error"), [(object(), TypeError), ("x" * 9_000_000, ValueError)])
async def test_details_that_cannot_be_stored_are_refused(
    app: EddaApp, details: object, error: type[Exception]
) -> None:
    @activity(retry_policy=RetryPolicy(max_attempts=1))
    async def copy(ctx: WorkflowContext) -> None:
        ctx.heartbeat(details)

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await copy(ctx)

    with pytest.raises(RetryExhaustedError) as caught:
        await flow.start()
    assert isinstance(caught.value.__cause__, error)


async def test_the_body_has_no_progress_to_report(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        ctx.heartbeat(1)

    with pytest.raises(RuntimeError, match=r"ctx\.heartbeat is for activities"):
        await flow.start()
