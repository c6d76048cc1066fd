"""Random programs of races and gathers see on replay what they saw live, losers included."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edda import TerminalError, WorkflowContext, activity, gather, race, sleep, workflow
from edda.app import EddaApp
from tests.support.apps import Apps, always_replay, instance, steps_of
from tests.support.eventually import eventually, pause

Node = tuple[Any, ...]
Trace = list[tuple[tuple[int, ...], Any]]

executions = itertools.count()
executed: list[int] = []
traces: dict[str, list[Trace]] = {}

STEPS = st.one_of(
    st.tuples(st.just("work"), st.sampled_from([0, 0, 1, 3]), st.sampled_from(["", "", "fails"])),
    st.tuples(st.just("sleep"), st.sampled_from([0, 0.001, 0.01, 0.03])),
    st.tuples(st.just("draw")),
)


def _composed(nodes: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    several = st.lists(nodes, min_size=1, max_size=3).map(tuple)
    return st.one_of(
        st.tuples(st.just("turn"), several),
        st.tuples(st.just("race"), several),
        st.tuples(st.just("careful"), nodes),
        st.tuples(st.just("gather"), several, st.sampled_from([None, 1, 2])),
    )


PROGRAMS = st.lists(st.recursive(STEPS, _composed, max_leaves=10), min_size=1, max_size=4).map(
    lambda nodes: ("turn", tuple(nodes))
)


@activity
async def work(ctx: WorkflowContext, milliseconds: float, ending: str) -> int:
    number = next(executions)
    executed.append(number)
    await pause(milliseconds / 1000)
    if ending == "fails":
        raise TerminalError(f"execution {number}")
    return number


class Program:
    """One pass through a program; ``trace`` is what it saw, in order."""

    def __init__(self, ctx: WorkflowContext) -> None:
        self.ctx = ctx
        self.trace: Trace = []

    async def run(self, node: Any, path: tuple[int, ...] = ()) -> int:
        kind, *details = node
        try:
            seen = await getattr(self, f"_{kind}")(path, *details)
        except TerminalError as error:
            seen = str(error)
        self.trace.append((path, seen))
        return path[-1] if path else 0

    def _all(self, path: tuple[int, ...], nodes: Any) -> list[Any]:
        return [self.run(node, (*path, number)) for number, node in enumerate(nodes)]

    async def _work(self, path: tuple[int, ...], milliseconds: float, ending: str) -> int:
        return await work(self.ctx, milliseconds, ending)

    async def _sleep(self, path: tuple[int, ...], seconds: float) -> None:
        await sleep(self.ctx, seconds)

    async def _draw(self, path: tuple[int, ...]) -> str:
        return f"{self.ctx.uuid4()} {await self.ctx.now()}"

    async def _turn(self, path: tuple[int, ...], nodes: Any) -> list[int]:
        return [await self.run(node, (*path, number)) for number, node in enumerate(nodes)]

    async def _gather(self, path: tuple[int, ...], nodes: Any, limit: int | None) -> list[int]:
        results: list[int] = await gather(*self._all(path, nodes), limit=limit)
        return results

    async def _race(self, path: tuple[int, ...], nodes: Any) -> tuple[int, int]:
        first = await race(self.ctx, *self._all(path, nodes))
        return first.index, first.value

    async def _careful(self, path: tuple[int, ...], node: Any) -> int:
        try:
            return await self.run(node, (*path, 0))
        finally:
            self.trace.append((path, await work(self.ctx, 0, "")))


@workflow
async def racing_program(ctx: WorkflowContext, program: Any) -> None:
    running = Program(ctx)
    await running.run(program)
    traces.setdefault(ctx.instance_id, []).append(running.trace)
    await sleep(ctx, 3600, timer_id="end")


@pytest.fixture(params=["resident", "replayed at every wait"])
async def racing_app(request: pytest.FixtureRequest, apps: Apps) -> EddaApp:
    app = apps.make()
    app.strict_replay = True
    app.resident_limit = 1000 if request.param == "resident" else 0
    await app.initialize()
    return app


async def _at_the_end(app: EddaApp, instance_id: str) -> None:
    row = await instance(app, instance_id)
    assert row["status"] == "waiting_for_timer", row
    assert row["current_activity_id"] == "end", row


@settings(
    max_examples=30,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(program=PROGRAMS)
async def test_a_replay_of_races_sees_what_the_run_saw_live(racing_app: EddaApp, program: Node) -> None:
    app = racing_app
    traces.clear()
    instance_id = await racing_program.start(program=program)
    await eventually(lambda: _at_the_end(app, instance_id))
    history, count = await steps_of(app, instance_id), len(executed)
    waits = await app.storage.load_waits(instance_id)
    always_replay(app)
    try:
        await racing_program.resume(instance_id)
    finally:
        app.replay_engine._residents._limit = app.resident_limit  # type: ignore[union-attr]

    live, again = traces[instance_id][-2:]
    assert live == again
    assert await steps_of(app, instance_id) == history
    assert len(executed) == count, "a loser was executed again"
    assert [wait.activity_id for wait in waits] == ["end"], "a loser left a wait behind"
