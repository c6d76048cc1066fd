"""Attempts, back-off, and the row that ends an activity."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from edda import (
    RetryExhaustedError,
    RetryPolicy,
    TerminalError,
    WorkflowContext,
    activity,
    sleep,
    workflow,
)
from edda.app import EddaApp
from edda.storage.writes import WaitsRegistered
from tests.support.apps import Apps, always_replay, reached, result_of
from tests.support.attempts import Failing, only_step

QUICK = RetryPolicy(initial_interval=0.01, backoff_coefficient=1.0, max_attempts=3)


class BrokenError(Exception):
    """An error whose constructor takes two arguments."""

    def __init__(self, part: str, code: int) -> None:
        super().__init__(part, code)
        self.part = part
        self.code = code


async def test_a_result_is_recorded_with_the_name_and_the_input(app: EddaApp) -> None:
    @activity
    async def reserve(ctx: WorkflowContext, item: str, count: int = 1) -> dict[str, int]:
        return {item: count}

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await reserve(ctx, "book", count=2)

    kind, data = await only_step(app, await flow.start())

    assert kind == "ActivityCompleted"
    assert data == {
        "activity_name": "reserve",
        "result": {"book": 2},
        "input": {"args": ["book"], "kwargs": {"count": 2}},
    }


async def test_a_success_after_failures_is_recorded_with_its_attempts(app: EddaApp) -> None:
    attempt = Failing(2)

    @activity(retry_policy=QUICK)
    async def flaky(ctx: WorkflowContext) -> str:
        return attempt()

    @workflow
    async def flow(ctx: WorkflowContext) -> str:
        return await flaky(ctx)

    instance_id = await flow.start()

    kind, data = await only_step(app, instance_id)
    metadata = data["retry_metadata"]
    assert (kind, len(attempt.called_at)) == ("ActivityCompleted", 3)
    assert (metadata["total_attempts"], metadata["exhausted"]) == (3, False)
    assert [(error["attempt"], error["error_type"], error["message"]) for error in metadata["errors"]] == [
        (1, "OSError", "no 1"),
        (2, "OSError", "no 2"),
    ]
    assert metadata["last_error"] == {"error_type": "OSError", "message": "no 2"}
    assert set(metadata) == {"total_attempts", "total_duration_ms", "exhausted", "errors", "last_error"}


async def test_the_delays_are_those_of_the_policy(app: EddaApp, monkeypatch: pytest.MonkeyPatch) -> None:
    attempt = Failing(3)
    submit, delays = app.storage.submit, list[float]()

    async def watch(write: Any, **options: Any) -> Any:
        if isinstance(write, WaitsRegistered):
            delays.extend(wait.seconds or 0 for wait in write.waits)
        return await submit(write, **options)

    @activity(retry_policy=RetryPolicy(initial_interval=0.05, backoff_coefficient=2, max_interval=0.1))
    async def flaky(ctx: WorkflowContext) -> str:
        return attempt()

    @workflow
    async def flow(ctx: WorkflowContext) -> str:
        return await flaky(ctx)

    monkeypatch.setattr(app.storage, "submit", watch)
    await flow.start()

    assert delays == [0.05, 0.1, 0.1]
    gaps = [after - before for before, after in pairwise(attempt.called_at)]
    assert all(gap >= delay for gap, delay in zip(gaps, delays, strict=True)), gaps


async def test_exhaustion_is_recorded_and_raised_with_the_last_error_as_cause(app: EddaApp) -> None:
    attempt = Failing(9)

    @activity(retry_policy=QUICK)
    async def broken(ctx: WorkflowContext, part: str) -> str:
        return attempt()

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await broken(ctx, "wheel")

    with pytest.raises(RetryExhaustedError) as caught:
        await flow.start()

    assert str(caught.value) == "Activity broken failed after 3 attempts: Max attempts (3) reached"
    assert isinstance(caught.value.__cause__, OSError)
    assert str(caught.value.__cause__) == "no 3"
    kind, data = await only_step(app, caught.value.instance_id)  # type: ignore[attr-defined]
    assert (kind, data["activity_name"], len(attempt.called_at)) == ("ActivityFailed", "broken", 3)
    assert (data["error_type"], data["error_message"]) == ("OSError", "no 3")
    assert "in broken" in data["stack_trace"]
    assert data["input"] == {"args": ["wheel"], "kwargs": {}}
    assert (data["retry_metadata"]["total_attempts"], data["retry_metadata"]["exhausted"]) == (3, True)
    assert (data["exception"]["type"], data["exception"]["cause"]["args"]) == (
        "edda.exceptions:RetryExhaustedError",
        ["no 3"],
    )


async def test_a_terminal_error_is_seen_as_itself_after_one_call(app: EddaApp) -> None:
    attempt = Failing(9, lambda _: TerminalError("hopeless"))

    @activity(retry_policy=QUICK)
    async def broken(ctx: WorkflowContext) -> str:
        return attempt()

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await broken(ctx)

    with pytest.raises(TerminalError) as caught:
        await flow.start()

    assert (str(caught.value), len(attempt.called_at)) == ("hopeless", 1)
    kind, data = await only_step(app, caught.value.instance_id)  # type: ignore[attr-defined]
    assert kind == "ActivityFailed"
    assert "retry_metadata" not in data


async def test_a_type_that_the_policy_does_not_retry_is_tried_once(app: EddaApp) -> None:
    attempt = Failing(9, lambda _: KeyError("k"))

    @activity(retry_policy=RetryPolicy(non_retryable_error_types=(KeyError,)))
    async def broken(ctx: WorkflowContext) -> str:
        return attempt()

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await broken(ctx)

    with pytest.raises(RetryExhaustedError) as caught:
        await flow.start()

    assert (
        str(caught.value) == "Activity broken failed after 1 attempts: Error type KeyError is not retryable"
    )
    assert len(attempt.called_at) == 1
    assert (await only_step(app, caught.value.instance_id))[0] == "ActivityFailed"  # type: ignore[attr-defined]


async def test_the_longest_duration_ends_the_attempts(app: EddaApp) -> None:
    attempt = Failing(99)

    @activity(
        retry_policy=RetryPolicy(
            initial_interval=0.04, backoff_coefficient=1, max_attempts=None, max_duration=0.1
        )
    )
    async def broken(ctx: WorkflowContext) -> str:
        return attempt()

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await broken(ctx)

    with pytest.raises(RetryExhaustedError, match=r"Max duration \(0.1s\) exceeded \(elapsed: \d+.\ds\)"):
        await flow.start()
    assert len(attempt.called_at) <= 4, "each of them takes 0.04 s at least"


async def test_the_policy_of_the_activity_precedes_that_of_the_app(apps: Apps) -> None:
    app = await apps.start(default_retry_policy=RetryPolicy(max_attempts=1))
    own, default = Failing(2), Failing(2)

    @activity(retry_policy=QUICK)
    async def with_own(ctx: WorkflowContext) -> str:
        return own()

    @activity
    async def with_default(ctx: WorkflowContext) -> str:
        return default()

    @workflow
    async def flow(ctx: WorkflowContext) -> str:
        await with_own(ctx)
        try:
            return await with_default(ctx)
        except RetryExhaustedError as error:
            return str(error)

    result = await result_of(app, await flow.start())
    assert result == "Activity with_default failed after 1 attempts: Max attempts (1) reached"
    assert (len(own.called_at), len(default.called_at)) == (3, 1)


async def test_a_replay_raises_the_same_error_as_the_first_run(app: EddaApp) -> None:
    seen: list[tuple[Any, ...]] = []

    @activity(retry_policy=RetryPolicy(max_attempts=1))
    async def broken(ctx: WorkflowContext) -> None:
        raise BrokenError("wheel", 7)

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        try:
            await broken(ctx)
        except RetryExhaustedError as error:
            cause = error.__cause__
            assert isinstance(cause, BrokenError)
            seen.append((type(error), error.args, type(cause), cause.args, cause.part, cause.code))
        await sleep(ctx, 0.01)

    always_replay(app)
    await reached(app, await flow.start())

    assert len(seen) == 2
    assert seen[0] == seen[1]


async def test_a_result_that_cannot_be_stored_is_one_terminal_error(app: EddaApp) -> None:
    calls: list[int] = []

    @activity(retry_policy=QUICK)
    async def open_door(ctx: WorkflowContext) -> object:
        calls.append(1)
        return object()

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await open_door(ctx)

    with pytest.raises(
        TerminalError, match=r"^Activity open_door returned a value that cannot be stored: "
    ) as caught:
        await flow.start()

    assert isinstance(caught.value.__cause__, TypeError)
    assert calls == [1]
    kind, data = await only_step(app, caught.value.instance_id)  # type: ignore[attr-defined]
    assert kind == "ActivityFailed"
    assert "retry_metadata" not in data
