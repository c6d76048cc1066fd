"""A trip whose steps can be held, and what tests of cancellations ask about it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from edda import WorkflowContext, activity, on_failure, workflow
from edda.app import EddaApp
from tests.support.apps import engine_of
from tests.support.eventually import eventually

entered: list[str] = []
held: dict[str, asyncio.Event] = {}


def forget() -> None:
    """Before each test: nothing has happened, nothing is held."""
    entered.clear()
    held.clear()


async def note(name: str) -> None:
    entered.append(name)
    if name in held:
        await held[name].wait()


async def undo(ctx: WorkflowContext, name: str) -> None:
    await note(f"undo {name}")


@activity
@on_failure(undo)
async def do(ctx: WorkflowContext, name: str) -> str:
    await note(name)
    return name


@workflow
async def trip(ctx: WorkflowContext) -> str:
    await do(ctx, "flight")
    await do(ctx, "hotel")
    await do(ctx, "car")
    return "booked"


async def held_at(
    app: EddaApp, name: str, start: Callable[[], Awaitable[str]]
) -> tuple[str, asyncio.Task[str]]:
    """Start a workflow and wait until it is inside this step; returns its id and the task of the start."""
    held[name] = asyncio.Event()
    task = asyncio.ensure_future(start())

    def check() -> None:
        assert name in entered

    await eventually(check)
    (instance_id,) = engine_of(app)._running
    return instance_id, task


async def cancel(app: EddaApp, instance_id: str, by: str = "user") -> bool:
    return await engine_of(app).cancel_workflow(instance_id, cancelled_by=by)


async def told(app: EddaApp, instance_id: str) -> None:
    """Wait until the run knows that it is to end."""

    def check() -> None:
        execution = engine_of(app)._running.get(instance_id)
        assert execution is not None
        assert execution.run.cancelled

    await eventually(check)
