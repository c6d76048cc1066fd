"""Workflows and worker processes for the acceptance tests; the environment says what they do.

``DATABASE_URL``: the database. ``EFFECTS``: a file that gets a line for each effect of a step.
``APP``: JSON of options of the app. ``START``: JSON of the workflows to start, with their
arguments and how often. ``HOLD``: steps of this number wait until the file ``EFFECTS``.open exists, and
``block`` has a blocking body stop the event loop until then. ``CODE``: the version of the code of
``two_branches``, whose first step has another name in each. ``CLOCK``: seconds by which
the clock of the process is wrong. ``WHOLESOME``: nothing kills the process from inside.
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
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Integer, MetaData, String, Table, insert

from edda import clock
from edda.activity import activity
from edda.app import EddaApp
from edda.channels import receive, sleep, subscribe
from edda.context import WorkflowContext
from edda.retry import RetryPolicy
from edda.workflow import find_workflow, workflow
from edda.wsgi import WSGIApplication, create_wsgi_app
from tests.support.eventually import pause

OPENING_POLL = 0.02
HOPELESS_ATTEMPTS = 3
LAST_BACK_OFF = 2.0
LOCK_TIMEOUT = 6.0

# A table of the application, without a key, so that a row which is there twice is seen.
entries = Table("app_entries", MetaData(), Column("instance_id", String(255)), Column("number", Integer))


hopeless_calls: list[str] = []


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
    await _hold(number)
    return os.getpid()


async def _hold(what: object) -> None:
    while _is_held(what):
        await pause(OPENING_POLL)


def _is_held(what: object) -> bool:
    return os.environ.get("HOLD") == str(what) and not Path(os.environ["EFFECTS"] + ".open").exists()


@activity
async def enter(ctx: WorkflowContext, number: int) -> int:
    """One row of the application, in the transaction that records the step."""
    await ctx.session.execute(insert(entries).values(instance_id=ctx.instance_id, number=number))
    note_effect(ctx.instance_id, f"enter:{number}")
    await _hold(number)
    return os.getpid()


@activity(
    retry_policy=RetryPolicy(
        initial_interval=0.2, backoff_coefficient=LAST_BACK_OFF / 0.2, max_attempts=HOPELESS_ATTEMPTS
    )
)
async def hopeless(ctx: WorkflowContext) -> None:
    """Fails each time; the third call in one process may be held before it does anything."""
    hopeless_calls.append(ctx.instance_id)
    if len(hopeless_calls) == HOPELESS_ATTEMPTS:
        await _hold("last")
    note_effect(ctx.instance_id, "hopeless:1")
    raise OSError("out of reach")


@workflow
async def five_steps(ctx: WorkflowContext, seconds: float = 0.0) -> list[int]:
    """Returns which process recorded each step."""
    return [await step(ctx, number, seconds) for number in range(1, 6)]


@workflow
async def two_branches(ctx: WorkflowContext) -> None:
    async def left() -> None:
        await step(ctx, 1, 0.0, activity_id=f"first of {os.environ.get('CODE', 'old code')}")
        await step(ctx, 2, 0.0, activity_id="second")

    await asyncio.gather(left(), step(ctx, 3, 0.0, activity_id="third"))


@workflow
async def enters(ctx: WorkflowContext) -> list[int]:
    return [await enter(ctx, number) for number in range(1, 4)]


@workflow
async def kills_its_worker(ctx: WorkflowContext) -> int:
    if "WHOLESOME" not in os.environ:
        os._exit(9)
    return await step(ctx, 1, 0.0)


@workflow(lock_timeout_seconds=LOCK_TIMEOUT)
async def outlives_its_lock(ctx: WorkflowContext) -> int:
    return await step(ctx, 1, 0.0)


@workflow
async def blocks_the_loop(ctx: WorkflowContext) -> list[int]:
    first = await step(ctx, 1, 0.0)
    while _is_held("block"):
        threading.Event().wait(OPENING_POLL)
    return [first, await step(ctx, 2, 0.0)]


@workflow
async def fails_for_good(ctx: WorkflowContext) -> None:
    await hopeless(ctx)


@workflow
async def sleeps(ctx: WorkflowContext, seconds: float) -> None:
    await step(ctx, 1, 0.0)
    await sleep(ctx, seconds)
    await _hold("last")
    await step(ctx, 2, 0.0)


@workflow
async def counts(ctx: WorkflowContext, number: int, last: int) -> int:
    """One step in each instance of a chain."""
    await step(ctx, number, 0.01)
    if number < last:
        await ctx.recur(number=number + 1, last=last)
    return number


@workflow
async def collects(
    ctx: WorkflowContext,
    channel: str,
    mode: str,
    timeout: float | None = None,
    seen: list[int] | None = None,
) -> dict[str, list[int]]:
    """Everything that comes on a channel until it is told to stop; begins anew now and then."""
    collected = list(seen or ())
    await subscribe(ctx, channel, mode)
    while True:
        try:
            message = await receive(ctx, channel, timeout_seconds=timeout)
        except TimeoutError:
            timeout = None  # the next wait is one without end
            continue
        if message.data == "stop":
            return {"seen": collected}
        collected.append(message.data)
        if len(collected) % 8 == 0:
            await ctx.recur(channel=channel, mode=mode, timeout=timeout, seen=collected)


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
    if wrong := os.environ.get("CLOCK"):
        right = clock.now
        clock.now = lambda: right() + timedelta(seconds=float(wrong))
    options = json.loads(os.environ["APP"])
    drain_seconds = options.pop("drain_seconds", EddaApp.drain_seconds)
    at_once = options.pop("max_concurrent_workflows", EddaApp.max_concurrent_workflows)
    app = EddaApp("acceptance", os.environ["DATABASE_URL"], hooks=Reports(), **options)
    app.drain_seconds, app.max_concurrent_workflows = drain_seconds, at_once
    app.on_event("visit")(note_visit)
    return app


def make_wsgi_app() -> WSGIApplication:
    """The same app behind WSGI."""
    return create_wsgi_app(make_app())


async def work() -> None:
    """A worker: starts what it is told to, picks up what is due, and stops in order at SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with make_app():
        say("ready")
        starts = [asyncio.create_task(start) for start in _starts()]
        await stop.wait()
        say("stopping")
    await asyncio.gather(*starts, return_exceptions=True)
    say("stopped")


def _starts() -> list[Any]:
    starts = []
    for name, arguments, count in json.loads(os.environ.get("START", "[]")):
        found = find_workflow(name)
        assert found is not None
        starts += [found.start(**arguments) for _ in range(count)]
    return starts
