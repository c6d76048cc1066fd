"""Workflows and worker processes for the acceptance tests; the environment says what they do.

``DATABASE_URL``: the database. ``EFFECTS``: a file that gets a line for each effect of a step.
``APP``: JSON of options of the app. ``START``: JSON of the workflows to start, with their
arguments and how often. ``HOLD``: steps of this number wait until the file ``EFFECTS``.open exists.
``BLOCK``: seconds for which a blocking body stops the event loop.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from edda.activity import activity
from edda.app import EddaApp
from edda.channels.timers import sleep
from edda.context import WorkflowContext
from edda.retry import RetryPolicy
from edda.workflow import find_workflow, workflow
from tests.support.eventually import pause

OPENING_POLL = 0.02


def say(*words: object) -> None:
    """Write a line that the test waits for."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")


def note_effect(instance_id: str, step: str) -> None:
    """Leave a trace outside the library and its database; one write, so that lines stay whole."""
    line = json.dumps([instance_id, step, os.getpid(), time.time()]) + "\n"
    file = os.open(os.environ["EFFECTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


@activity
async def step(ctx: WorkflowContext, number: int, seconds: float) -> int:
    """One effect, then some time until it is recorded."""
    note_effect(ctx.instance_id, f"step:{number}")
    await pause(seconds)
    if os.environ.get("HOLD") == str(number):
        while not Path(os.environ["EFFECTS"] + ".open").exists():
            await pause(OPENING_POLL)
    return os.getpid()


@activity(retry_policy=RetryPolicy(initial_interval=1.0, backoff_coefficient=1.0, max_attempts=3))
async def hopeless(ctx: WorkflowContext) -> None:
    """Fails each time."""
    note_effect(ctx.instance_id, "hopeless:1")
    raise OSError("out of reach")


@workflow
async def five_steps(ctx: WorkflowContext, seconds: float = 0.0) -> list[int]:
    """Returns which process recorded each step."""
    return [await step(ctx, number, seconds) for number in range(1, 6)]


@workflow(lock_timeout_seconds=1)
async def outlives_its_lock(ctx: WorkflowContext) -> int:
    return await step(ctx, 1, 3.0)


@workflow
async def blocks_the_loop(ctx: WorkflowContext) -> list[int]:
    first = await step(ctx, 1, 0.0)
    threading.Event().wait(float(os.environ.get("BLOCK", "0")))
    return [first, await step(ctx, 2, 0.0)]


@workflow
async def fails_for_good(ctx: WorkflowContext) -> None:
    await hopeless(ctx)


@workflow
async def sleeps(ctx: WorkflowContext, seconds: float) -> None:
    await step(ctx, 1, 0.0)
    await sleep(ctx, seconds)
    await step(ctx, 2, 0.0)


@workflow(event_handler=True)
async def order_placed(ctx: WorkflowContext, seconds: float = 0.0) -> list[int]:
    return [await step(ctx, number, seconds) for number in range(1, 4)]


async def note_visit(event: Any) -> None:
    """A handler of events: an effect under the id of the event."""
    note_effect(event["id"], "visit")
    if os.environ.get("HOLD") == "visit":
        await pause(60)


class Reports:
    """Says what has become of instances."""

    async def on_workflow_complete(self, instance_id: str, workflow_name: str, result: Any) -> None:
        say("completed", instance_id)


def make_app() -> EddaApp:
    """The app that the environment describes; also the factory for uvicorn."""
    logging.basicConfig(level=logging.INFO, stream=sys.stdout)
    options = json.loads(os.environ["APP"])
    drain_seconds = options.pop("drain_seconds", EddaApp.drain_seconds)
    app = EddaApp("acceptance", os.environ["DATABASE_URL"], hooks=Reports(), **options)
    app.drain_seconds = drain_seconds
    app.on_event("visit")(note_visit)
    return app


async def work() -> None:
    """A worker: starts what it is told to, picks up what is due, and stops in order at SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with make_app():
        say("ready")
        starts = [asyncio.create_task(start) for start in _starts()]
        await stop.wait()
    await asyncio.gather(*starts, return_exceptions=True)
    say("stopped")


def _starts() -> list[Any]:
    starts = []
    for name, arguments, count in json.loads(os.environ.get("START", "[]")):
        found = find_workflow(name)
        assert found is not None
        starts += [found.start(**arguments) for _ in range(count)]
    return starts
