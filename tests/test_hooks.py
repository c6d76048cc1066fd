"""Hooks see what happens, after it is committed, and change nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from edda import (
    HooksBase,
    RetryExhaustedError,
    RetryPolicy,
    WorkflowContext,
    WorkflowHooks,
    activity,
    send_event_transactional,
    sleep,
    wait_event,
    workflow,
)
from edda.cloudevent import Event
from edda.hooks import HookDispatcher
from tests.support.apps import Apps, always_replay, engine_of, reached, steps_of
from tests.support.eventually import until

EVERY_HOOK = [name for name in vars(WorkflowHooks) if name.startswith("on_")]


class Recorder:
    """Notes every call of a hook."""

    def __init__(self) -> None:
        self.seen: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("on_"):
            raise AttributeError(name)

        async def hook(*arguments: Any) -> None:
            self.seen.append((name.removeprefix("on_"), *arguments[1:]))

        return hook


class Raiser:
    """Raises in every hook."""

    def __init__(self) -> None:
        self.called: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("on_"):
            raise AttributeError(name)

        def hook(*arguments: Any) -> None:
            self.called.append(name)
            raise OSError(f"hook {name}")

        return hook


failures: list[int] = []


@activity(retry_policy=RetryPolicy(initial_interval=0.01, max_attempts=2))
async def flaky(ctx: WorkflowContext, needed: int) -> str:
    failures.append(1)
    if len(failures) < needed:
        raise KeyError("k")
    return "done"


@workflow
async def watched(ctx: WorkflowContext, needed: int = 1) -> str:
    result = await flaky(ctx, needed)
    await sleep(ctx, 0.01)
    return result


@pytest.fixture(autouse=True)
def _forget_failures() -> None:
    failures.clear()


def test_the_base_class_has_every_hook_and_does_nothing() -> None:
    class Mine(HooksBase):
        pass

    assert isinstance(Mine(), WorkflowHooks)
    assert len(EVERY_HOOK) == 10
    for name in EVERY_HOOK:
        assert callable(getattr(Mine(), name))


async def test_no_observer_a_partial_and_a_sync_one_are_all_fine() -> None:
    class OnlyStart:
        def __init__(self) -> None:
            self.started: list[str] = []

        def on_workflow_start(self, instance_id: str, *_: object) -> None:
            self.started.append(instance_id)

    observer = OnlyStart()
    await HookDispatcher(None).call("on_workflow_start", "i", "w", {})
    await HookDispatcher(observer).call("on_workflow_start", "i", "w", {})
    await HookDispatcher(observer).call("on_workflow_complete", "i", "w", None)
    assert observer.started == ["i"]


async def test_what_a_hook_raises_is_logged_with_its_name(caplog: pytest.LogCaptureFixture) -> None:
    await HookDispatcher(Raiser()).call("on_activity_start", "i")
    assert "Hook on_activity_start failed" in caplog.text


async def test_what_cancels_the_caller_passes_through_a_hook() -> None:
    class Cancelled:
        async def on_workflow_start(self, *_: object) -> None:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await HookDispatcher(Cancelled()).call("on_workflow_start")


@pytest.mark.resident
async def test_a_workflow_is_seen_from_start_to_end(apps: Apps) -> None:
    hooks = Recorder()
    await apps.start(hooks=hooks)

    await watched.start(needed=2)
    await until(lambda: len(hooks.seen) == 5)

    assert [entry[:-2] if entry[0] == "activity_retry" else entry for entry in hooks.seen] == [
        ("workflow_start", "watched", {"needed": 2}),
        ("activity_start", "flaky:1", "flaky", False),
        ("activity_retry", "flaky:1", "flaky", hooks.seen[2][3]),
        ("activity_complete", "flaky:1", "flaky", "done", False),
        ("workflow_complete", "watched", "done"),
    ]
    _, _, _, error, attempt, delay = hooks.seen[2]
    assert (type(error), attempt, delay) == (KeyError, 1, 0.01)


async def test_a_replay_is_seen_as_one_and_not_as_a_start(apps: Apps) -> None:
    hooks = Recorder()
    app = await apps.start(hooks=hooks)
    always_replay(app)

    await watched.start()
    await until(lambda: len(hooks.seen) == 6)

    assert hooks.seen == [
        ("workflow_start", "watched", {}),
        ("activity_start", "flaky:1", "flaky", False),
        ("activity_complete", "flaky:1", "flaky", "done", False),
        ("activity_start", "flaky:1", "flaky", True),
        ("activity_complete", "flaky:1", "flaky", "done", True),
        ("workflow_complete", "watched", "done"),
    ]


async def test_a_failure_is_seen_with_the_error_that_the_function_raised(apps: Apps) -> None:
    hooks = Recorder()
    await apps.start(hooks=hooks)

    with pytest.raises(RetryExhaustedError) as caught:
        await watched.start(needed=9)

    failed, ended = hooks.seen[-2:]
    assert (failed[:3], type(failed[3])) == (("activity_failed", "flaky:1", "flaky"), KeyError)
    assert (ended[:2], ended[2]) == (("workflow_failed", "watched"), caught.value)


@pytest.mark.resident
async def test_a_completion_is_told_when_it_is_visible_to_others(apps: Apps) -> None:
    rows: list[Any] = []

    class Looking:
        async def on_activity_complete(self, instance_id: str, *_: object) -> None:
            rows.append(await app.storage.get_history(instance_id))

        async def on_workflow_complete(self, instance_id: str, *_: object) -> None:
            rows.append(await app.storage.get_instance(instance_id))

    app = await apps.start(hooks=Looking())
    await watched.start()
    await until(lambda: len(rows) == 2)

    assert [row["activity_id"] for row in rows[0]] == ["flaky:1"]
    assert rows[1]["status"] == "completed"


async def test_hooks_that_raise_change_nothing(apps: Apps) -> None:
    hooks = Raiser()
    app = await apps.start(hooks=hooks)
    plain = await apps.start(hooks=None)

    ids = []
    for each in (app, plain):
        failures.clear()
        with each.activate():
            ids.append(await watched.start(needed=2))
        await reached(each, ids[-1])
        assert len(failures) == 2

    assert await steps_of(app, ids[0]) == await steps_of(plain, ids[1])


async def test_each_of_the_hooks_may_raise(apps: Apps) -> None:
    hooks = Raiser()
    app = await apps.start(hooks=hooks)

    @activity
    async def announce(ctx: WorkflowContext) -> None:
        await send_event_transactional(ctx, "order.placed", "/tests", {})

    @workflow
    async def talk(ctx: WorkflowContext, needed: int) -> None:
        await announce(ctx)
        await wait_event(ctx, "go")
        await flaky(ctx, needed)

    for needed, ended in ((2, "completed"), (3, "failed"), (1, "cancelled")):
        failures.clear()
        instance_id = await talk.start(needed=needed)
        await reached(app, instance_id, "waiting_for_message")
        if ended == "cancelled":
            assert await engine_of(app).cancel_workflow(instance_id)
        else:
            await app.handle_cloudevent(Event({"type": "go", "source": "/tests", "id": ended}))
        assert (await reached(app, instance_id, ended))["status"] == ended
    await until(lambda: set(hooks.called) == set(EVERY_HOOK))  # told after the commit


@pytest.mark.parametrize("hook", ["on_activity_start", "on_activity_complete"])
async def test_what_a_hook_starts_is_no_step_of_the_run(apps: Apps, hook: str) -> None:
    @workflow
    async def audit(ctx: WorkflowContext) -> None:
        await noted(ctx)

    @activity
    async def noted(ctx: WorkflowContext) -> None:
        pass

    @activity
    async def pay(ctx: WorkflowContext) -> None:
        pass

    @workflow
    async def order(ctx: WorkflowContext) -> None:
        await pay(ctx)
        await sleep(ctx, 0.01)

    class Auditor:
        async def call(self, *arguments: Any) -> None:
            if arguments[2] == "pay" and arguments[-1] is False:
                audits.append(await audit.start())

    audits: list[str] = []
    auditor = Auditor()
    setattr(auditor, hook, auditor.call)
    app = await apps.start(hooks=auditor)
    always_replay(app)
    instance_id = await order.start()
    await reached(app, instance_id)
    assert [step for step, _ in await steps_of(app, instance_id)] == ["pay:1", "sleep:1"]
    await until(lambda: len(audits) == 1)
    assert [step for step, _ in await steps_of(app, audits[0])] == ["noted:1"]
