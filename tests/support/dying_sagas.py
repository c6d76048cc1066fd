"""Sagas whose processes kill themselves at a chosen write: before it, or after its commit.

``DATABASE_URL``: the database. ``EFFECTS``: a file that gets a line for each effect.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

from edda.activity import activity
from edda.app import EddaApp
from edda.channels.timers import sleep
from edda.compensation import on_failure
from edda.context import WorkflowContext
from edda.storage.writes import CancelRequested, RollbackBegun, RunFinished, StepRecorded
from edda.workflow import Workflow, workflow
from tests.support.eventually import pause

PLACES = ("flight", "hotel", "car")
# How many writes there are to die at: the rollback, three compensations and the end; and before
# these the request to cancel, or, for a running instance, the record of its last step.
WRITES = {"fails": 5, "waits": 6, "runs": 6}


def note(ctx: WorkflowContext, what: str) -> None:
    """Leave a trace outside the library and its database; one write, so that lines stay whole."""
    file = os.open(os.environ["EFFECTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, f"{ctx.instance_id} {what}\n".encode())
    finally:
        os.close(file)


async def undo(ctx: WorkflowContext, place: str) -> None:
    note(ctx, f"undo {place}")


@activity
@on_failure(undo)
async def book(ctx: WorkflowContext, place: str, until_cancelled: bool = False) -> None:
    note(ctx, place)
    while until_cancelled and not ctx.run.cancelled:
        await pause(0.01)


@workflow
async def fails(ctx: WorkflowContext) -> None:
    note(ctx, "body")
    for place in PLACES:
        await book(ctx, place)
    raise ValueError("no card")


@workflow
async def waits(ctx: WorkflowContext) -> None:
    note(ctx, "body")
    for place in PLACES:
        await book(ctx, place)
    await sleep(ctx, 3600)


@workflow
async def runs(ctx: WorkflowContext) -> None:
    note(ctx, "body")
    for place in PLACES:
        await book(ctx, place, until_cancelled=place == "car")


SAGAS: dict[str, Workflow[Any, Any]] = {"fails": fails, "waits": waits, "runs": runs}


def make_app() -> EddaApp:
    """Leases are long: nobody takes an instance over before the test lets them run out."""
    return EddaApp("sagas", os.environ["DATABASE_URL"])


def instance_of(name: str, number: int, when: str) -> str:
    return f"{name}-{number}-{when}"


def die(name: str) -> None:
    """Fork a process for each write of this saga and both moments; each is to die by its own hand."""
    children = {}
    for number in range(1, WRITES[name] + 1):
        for when in ("before", "after"):
            child = os.fork()
            if child == 0:
                asyncio.run(_live_until(name, number, when))
                os._exit(0)
            children[child] = f"{name} {number} {when}"
    for child, who in children.items():
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            sys.stdout.write(f"survived: {who}\n")
    sys.stdout.write("all dead\n")


async def _live_until(name: str, number: int, when: str) -> None:
    app = make_app()
    instance_id = instance_of(name, number, when)
    _kill_at(app, instance_id, number, when)
    await app.initialize()
    engine = app.replay_engine
    assert engine is not None
    started = asyncio.ensure_future(engine.start(SAGAS[name], {}, None, instance_id=instance_id))
    if name == "runs":
        while not await _has_booked(app, instance_id):
            await pause(0.01)
        await engine.cancel_workflow(instance_id)
    await asyncio.gather(started, return_exceptions=True)
    if name == "waits":
        await engine.cancel_workflow(instance_id)


async def _has_booked(app: EddaApp, instance_id: str) -> bool:
    return len(await app.storage.get_history(instance_id)) == len(PLACES) - 1


def _kill_at(app: EddaApp, instance_id: str, number: int, when: str) -> None:
    submit, seen = app.storage.submit, 0

    async def submit_or_die(write: Any, *, within: float | None = None) -> Any:
        nonlocal seen
        seen += _counts(write, instance_id)
        is_it = _counts(write, instance_id) and seen == number
        if is_it and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = await submit(write, within=within)
        if is_it:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    app.storage.submit = submit_or_die  # type: ignore[method-assign]


def _counts(write: Any, instance_id: str) -> bool:
    if isinstance(write, CancelRequested):
        # A running instance is asked by its own process: what follows is counted instead.
        return not instance_id.startswith("runs")
    if isinstance(write, StepRecorded):
        return write.activity_id.startswith("compensation_") or (
            instance_id.startswith("runs") and write.activity_id == "book:3"
        )
    return isinstance(write, RollbackBegun | RunFinished)
