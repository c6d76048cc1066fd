"""Ends in a form in which they can be compared."""

from __future__ import annotations

from typing import Any

from edda import WorkflowContext, activity, send_event_transactional, workflow
from edda.testing import WorkflowEnvironment
from edda.testing.ends import Namer, end_of


@activity
async def end_announced(ctx: WorkflowContext) -> str:
    await send_event_transactional(ctx, "ended", "/test", {"n": 1})
    return str(await ctx.now())


@workflow
async def ending_at_some_time(ctx: WorkflowContext) -> str:
    return await end_announced(ctx)


def test_what_is_random_gets_the_same_name_each_time() -> None:
    key, other = "0" * 32, "1" * 32
    named = Namer().name({key: [other, f"x-{key}"], "at": "2030-01-01T00:00:00+00:00", "stack_trace": "…"})
    assert named == {"<1>": ["<2>", "x-<1>"], "at": "<time>"}


async def test_two_runs_of_the_same_have_the_same_end() -> None:
    ends: list[Any] = []
    for _ in range(2):
        async with WorkflowEnvironment() as env:
            await env.result(await env.start(ending_at_some_time))
            ends.append(await end_of(env.app))
    assert ends[0] == ends[1]
    [instance] = ends[0]["instances"]
    assert instance["steps"] == [("end_announced:1", "ActivityCompleted")]
    assert ends[0]["outbox"] == [{"type": "ended", "source": "/test", "data": {"n": 1}}]
