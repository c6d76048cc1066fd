"""Workflows that are generated: a program is nested tuples, and one workflow function executes any.

What a program does outside the database, and what it stores, is named after the place in the
program, so that two ends of it can be compared. Only what is free may differ, see
:func:`forget_what_is_free`.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from hypothesis import strategies as st

from edda import (
    EventTimeoutError,
    RetryExhaustedError,
    RetryPolicy,
    TerminalError,
    WorkflowContext,
    activity,
    gather,
    on_failure,
    pivot,
    publish,
    race,
    receive,
    register_compensation,
    send_event_transactional,
    send_to,
    sleep,
    subscribe,
    wait_event,
    workflow,
)
from edda.app import EddaApp
from edda.journal import ENTERED_AFTER
from edda.testing.mortal_worker import Play, note
from edda.types import EventType
from tests.support.apps import engine_of
from tests.support.final_state import State
from tests.support.playing import all_ended, begin, waits_at
from tests.support.rows import add

Node = tuple[Any, ...]
FOREVER = 3600
CANCELLED_HERE = "to be cancelled"

# -- what programs are drawn from ------------------------------------------------------------

BRIEF = st.sampled_from([0, 0.001, 0.004])
IN_TRANSACTIONS = st.one_of(
    st.tuples(st.just("work")),
    st.tuples(st.just("row"), st.booleans()),
    st.tuples(st.just("tell")),
)
STEPS = st.one_of(
    IN_TRANSACTIONS,
    st.tuples(st.just("flaky"), st.integers(1, 3)),
    st.tuples(st.just("refused")),
    st.tuples(st.just("draw")),
    st.tuples(st.just("sleep"), BRIEF),
    st.tuples(st.just("in_vain"), st.sampled_from(["event", "message"]), BRIEF),
    st.tuples(st.just("echo"), st.sampled_from(["broadcast", "competing", "direct"]), st.booleans()),
    st.tuples(st.just("block"), st.lists(IN_TRANSACTIONS, max_size=3).map(tuple), st.booleans()),
)


def _composed(nodes: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    several = st.lists(nodes, min_size=1, max_size=3).map(tuple)
    return st.one_of(
        st.tuples(st.just("turn"), several),
        st.tuples(st.just("gather"), several, st.sampled_from([None, 1, 2])),
        st.tuples(st.just("group"), several),
        st.tuples(st.just("race"), nodes, st.sampled_from(["sleeps", "listens", "cleans up"])),
        st.tuples(st.just("child"), nodes, st.booleans()),
    )


# What a saga registers is undone in the order of registration, which no branch may leave to chance.
SAGA = st.one_of(
    st.tuples(st.just("reserve"), st.sampled_from(["", "", "fails"])),
    st.tuples(st.just("register")),
    st.tuples(st.just("pivot")),
)
NODES = st.recursive(STEPS, _composed, max_leaves=6)
PROGRAMS = st.tuples(
    st.lists(st.one_of(NODES, NODES, SAGA), min_size=1, max_size=5).map(tuple),
    st.sampled_from(["return", "return", "fail", "recur", "be cancelled", "hide that it is cancelled"]),
)


# -- what they are made of ----------------------------------------------------------------------


@activity
async def work(ctx: WorkflowContext, name: str) -> str:
    note(f"work {name}")
    return name


@activity
async def show(ctx: WorkflowContext, name: str, drawn: list[str]) -> list[str]:
    note(f"show {name}")
    return drawn


@activity
async def row(ctx: WorkflowContext, name: str, *, sends: bool) -> str:
    note(f"row {name}")
    await add(ctx.session, name)
    if sends:
        await send_event_transactional(ctx, "added", f"/{name}", {"name": name})
    return name


@activity(retry_policy=RetryPolicy(initial_interval=0.001, backoff_coefficient=1.0, max_attempts=3))
async def flaky(ctx: WorkflowContext, name: str, failures: int) -> int:
    attempt = (ctx.heartbeat_details or 0) + 1
    note(f"flaky {name} {attempt}")
    ctx.heartbeat(attempt)
    if attempt <= failures:
        raise OSError(name, attempt)
    return int(attempt)


@activity
async def refused(ctx: WorkflowContext, name: str) -> None:
    note(f"refused {name}")
    raise TerminalError(name)


async def release(ctx: WorkflowContext, name: str, ending: str) -> None:
    note(f"release {name}")
    await add(ctx.session, f"released {name}")
    if ending == "fails":
        raise TerminalError(name)


@activity
@on_failure(release)
async def reserve(ctx: WorkflowContext, name: str, ending: str) -> None:
    note(f"reserve {name}")
    await add(ctx.session, f"reserved {name}")


class _Undone(Exception):
    """Rolls a block back."""


class _Pass:
    """One pass through a program; each method returns what the program saw."""

    def __init__(self, ctx: WorkflowContext) -> None:
        self.ctx = ctx

    async def run(self, node: Any, name: str) -> Any:
        kind, *details = node
        return await getattr(self, f"_{kind}")(name, *details)

    def _all(self, name: str, nodes: Any) -> list[Any]:
        return [self.run(node, f"{name}.{number}") for number, node in enumerate(nodes)]

    async def _work(self, name: str) -> Any:
        return await work(self.ctx, name)

    async def _row(self, name: str, sends: bool) -> Any:
        return await row(self.ctx, name, sends=sends)

    async def _tell(self, name: str) -> Any:
        await publish(self.ctx, f"told.{name}", name)

    async def _flaky(self, name: str, failures: int) -> Any:
        try:
            return await flaky(self.ctx, name, failures)
        except RetryExhaustedError as error:
            return [str(error), type(error.__cause__).__name__, list(getattr(error.__cause__, "args", ()))]

    async def _refused(self, name: str) -> Any:
        try:
            await refused(self.ctx, name)
        except TerminalError as error:
            return str(error)

    async def _draw(self, name: str) -> Any:
        # Each in a form that final_state gives a name to: it follows from the id of the instance.
        drawn = [
            f"{self.ctx.random().getrandbits(128):032x}",
            str(self.ctx.uuid4()),
            str(await self.ctx.now()),
        ]
        return await show(self.ctx, name, drawn)

    async def _sleep(self, name: str, seconds: float) -> Any:
        await sleep(self.ctx, seconds)

    async def _in_vain(self, name: str, what: str, seconds: float) -> Any:
        try:
            if what == "event":
                return await wait_event(self.ctx, f"never.{name}", timeout_seconds=seconds)
            await subscribe(self.ctx, f"never.{name}")
            return await receive(self.ctx, f"never.{name}", timeout_seconds=seconds)
        except EventTimeoutError:
            return "no event"
        except TimeoutError:
            return "no message"

    async def _echo(self, name: str, mode: str, waits: bool) -> Any:
        channel = f"echo.{name}"
        await subscribe(self.ctx, channel, mode)
        if waits:
            heard, _ = await gather(self._listen(channel), self._speak(channel, mode, 0.002))
            return heard
        await self._speak(channel, mode, 0)
        return await self._listen(channel)

    async def _listen(self, channel: str) -> Any:
        return (await receive(self.ctx, channel)).data

    async def _speak(self, channel: str, mode: str, later: float) -> None:
        if later:
            await sleep(self.ctx, later)
        if mode == "direct":
            await send_to(self.ctx, self.ctx.instance_id, {"on": channel}, channel)
        else:
            await publish(self.ctx, channel, {"on": channel})

    async def _block(self, name: str, nodes: Any, stays: bool) -> Any:
        seen: list[Any] = []
        with contextlib.suppress(_Undone):
            async with self.ctx.transaction():
                seen += await self._turn(name, nodes)
                if not stays:
                    raise _Undone
        return seen

    async def _turn(self, name: str, nodes: Any) -> Any:
        return [await self.run(node, f"{name}.{number}") for number, node in enumerate(nodes)]

    async def _gather(self, name: str, nodes: Any, limit: int | None) -> Any:
        return await gather(*self._all(name, nodes), limit=limit)

    async def _group(self, name: str, nodes: Any) -> Any:
        async with asyncio.TaskGroup() as group:
            branches = [group.create_task(branch) for branch in self._all(name, nodes)]
        return [branch.result() for branch in branches]

    async def _race(self, name: str, node: Any, loser: str) -> Any:
        first = await race(self.ctx, never=self._lose(name, loser), some_time=self.run(node, f"{name}.0"))
        return [first.name, first.value]

    async def _lose(self, name: str, loser: str) -> Any:
        if loser == "listens":
            return await wait_event(self.ctx, f"lost.{name}")
        try:
            await sleep(self.ctx, FOREVER)
        finally:
            if loser == "cleans up":
                await work(self.ctx, f"{name} cleans up")

    async def _child(self, name: str, node: Any, fails: bool) -> Any:
        ending = "fail" if fails else "return"
        try:
            return await generated.start(nodes=[node, ["reserve", ""]], ending=ending, name=name)
        except LookupError as error:
            return [str(error)]

    async def _reserve(self, name: str, ending: str) -> Any:
        await reserve(self.ctx, name, ending)

    async def _register(self, name: str) -> Any:
        await register_compensation(self.ctx, release, f"registered {name}", "")

    async def _pivot(self, name: str) -> Any:
        await pivot(self.ctx)


@workflow
async def generated(ctx: WorkflowContext, nodes: Any, ending: str, name: str = "") -> Any:
    one_pass = _Pass(ctx)
    seen = [await one_pass.run(node, f"{name}{number}") for number, node in enumerate(nodes)]
    if ending == "fail":
        raise LookupError(f"the end of {name}")
    if ending == "recur":
        await ctx.recur(nodes=nodes, ending="return", name=f"{name}again ")
    if ending == "be cancelled":
        await sleep(ctx, FOREVER, timer_id=CANCELLED_HERE)
    if ending == "hide that it is cancelled":
        try:
            await sleep(ctx, FOREVER, timer_id=CANCELLED_HERE)
        except Exception:  # noqa: BLE001 - what many do
            return seen
    return seen


def playing(program: Node) -> Play:
    """Start it, cancel it if it is to be, and wait until it and its children have ended."""
    nodes, ending = program
    if ["pivot"] in [list(node) for node in nodes] and "cancelled" in ending:
        ending = "fail"  # past its pivot nothing is cancelled

    async def play(app: EddaApp) -> None:
        first = await begin(generated, app, nodes=nodes, ending=ending)
        if "cancelled" in ending:
            await waits_at(app, first, CANCELLED_HERE)
            await engine_of(app).cancel_workflow(first, "test")
        await all_ended(app)

    return play


def forget_what_is_free(state: State) -> None:
    """Two things may differ between two runs, and no more.

    Branches that go on at the same time get their steps recorded in any order, and a step in
    a block notes after which steps of others it was seen; a replay keeps to the
    order that was recorded. And ``send_to`` tells whether its receiver was waiting at that
    moment, which is as it happens. The order in which compensations are executed is kept. Ids,
    times, and the lists of attempts with their durations are left out of every state. What a
    race decides would be free; here one of its branches never ends by itself.
    """
    undoing = {EventType.COMPENSATION_EXECUTED, EventType.COMPENSATION_FAILED}
    for instance in state["instances"]:
        for steps in (instance["history"], instance["archive"]):
            instance.setdefault("undone", []).extend(
                step["activity_id"] for step in steps if step["event_type"] in undoing
            )
            steps.sort(key=lambda step: step["activity_id"])
            for step in steps:
                for free in ("delivered", ENTERED_AFTER):
                    step["event_data"].pop(free, None)
