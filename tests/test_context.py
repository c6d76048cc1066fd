"""The context that workflows and activities receive."""

from __future__ import annotations

from typing import Any

import pytest

from edda import WorkflowContext, activity, sleep, workflow
from edda.app import EddaApp
from edda.exceptions import EddaError
from tests.support.apps import Apps, always_replay, reached


@activity
async def note(ctx: WorkflowContext, text: str) -> str:
    return text


def made(**options: Any) -> WorkflowContext:
    storage: Any = object()
    return WorkflowContext("i", "w", storage, "me", **options)


def test_a_context_shows_what_it_was_made_with() -> None:
    hooks = object()
    ctx = made(hooks=hooks)
    assert (ctx.instance_id, ctx.workflow_name, ctx.worker_id, ctx.hooks) == ("i", "w", "me", hooks)
    assert (ctx.is_replaying, ctx.executed_activity_ids) == (False, set())
    assert made(is_replaying=True).is_replaying


def test_a_context_describes_itself() -> None:
    assert repr(made()) == (
        "WorkflowContext(instance_id='i', workflow_name='w', executed_activities=0, is_replaying=False)"
    )


def test_a_context_without_a_run_refuses_durable_operations() -> None:
    with pytest.raises(EddaError, match="belongs to no run"):
        _ = made().run


async def test_a_run_tells_the_instance_the_worker_and_the_observer(apps: Apps) -> None:
    seen: list[Any] = []
    hooks = object()
    app = await apps.start(hooks=hooks)

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        seen.extend([ctx.instance_id, ctx.workflow_name, ctx.worker_id, ctx.hooks])

    instance_id = await flow.start()
    assert seen == [instance_id, "flow", app.worker_id, hooks]


async def test_a_context_knows_the_steps_of_its_run(app: EddaApp) -> None:
    seen: list[tuple[set[str], bool]] = []

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await note(ctx, "a")
        await note(ctx, "b", activity_id="own")
        seen.append((ctx.executed_activity_ids, ctx.is_replaying))
        await sleep(ctx, 0.01)
        await note(ctx, "c")
        seen.append((ctx.executed_activity_ids, ctx.is_replaying))

    always_replay(app)
    await reached(app, await flow.start())

    first = {"note:1", "own"}
    assert seen == [(first, False), (first, True), ({*first, "sleep:1", "note:2"}, False)]
