"""Branches of a race: their ids, and the hold on those that are known to lose."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from edda import WorkflowContext, activity, race, sleep, workflow
from edda.app import EddaApp
from edda.branches import Branch, current_branch, ids_here
from edda.hooks import HookDispatcher
from edda.retry import DEFAULT_RETRY_POLICY
from edda.run import Run, Services
from edda.storage.records import Lease
from tests.support.apps import (
    Apps,
    always_replay,
    go_on_claiming,
    result_of,
    steps_of,
    stop_claiming,
)
from tests.support.eventually import PATIENCE, pause


@pytest.fixture
def run() -> Run:
    storage: Any = None
    services = Services(storage, "worker", HookDispatcher(None), DEFAULT_RETRY_POLICY, ThreadPoolExecutor(1))
    return Run(Lease("i", "worker", 1, 30.0), workflow_name="w", services=services)


async def _turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_ids_are_those_of_the_innermost_branch(run: Run) -> None:
    body = run.journal.take("note")
    with Branch(run, "race:1/a/", lost=False).current():
        outer = ids_here(run).take("note")
        with Branch(run, "race:1/a/race:1/0/", lost=False).current():
            inner = ids_here(run).take("note")
        again = ids_here(run).take("note")

    assert (body, outer, inner) == ("note:1", "race:1/a/note:1", "race:1/a/race:1/0/note:1")
    assert (again, ids_here(run).take("note")) == ("race:1/a/note:2", "note:2")


def test_an_id_given_by_hand_is_one_for_all_branches(run: Run) -> None:
    with Branch(run, "race:1/a/", lost=False).current():
        assert ids_here(run).take_given("chosen")

    assert not run.journal.take_given("chosen")


def test_a_branch_is_none_of_another_run(run: Run) -> None:
    other = Run(run.lease, workflow_name="w", services=run.services)

    with Branch(run, "race:1/a/", lost=False).current():
        assert current_branch(run) is not None
        assert current_branch(other) is None
        assert ids_here(other) is other.journal


async def test_a_lost_branch_holds_back_what_is_called_before_it_is_cancelled(run: Run) -> None:
    branch = Branch(run, "race:1/a/", lost=True)
    before = asyncio.create_task(branch.pass_hold())
    await _turns()

    branch.end_hold()
    await asyncio.wait_for(branch.pass_hold(), PATIENCE)
    await _turns()
    assert not before.done()

    branch.empty_hold()
    await asyncio.wait_for(before, PATIENCE)


async def test_a_branch_inside_a_lost_one_is_held_with_it(run: Run) -> None:
    outer = Branch(run, "race:1/a/", lost=True)
    with outer.current():
        inner = Branch(run, "race:1/a/race:1/0/", lost=False)
    held = asyncio.create_task(inner.pass_hold())
    await _turns()
    assert not held.done()

    outer.empty_hold()
    await asyncio.wait_for(held, PATIENCE)


async def test_a_branch_that_may_win_holds_nothing_back(run: Run) -> None:
    await asyncio.wait_for(Branch(run, "race:1/a/", lost=False).pass_hold(), PATIENCE)


async def test_a_loser_is_not_begun_again_while_the_winner_replays_slowly(apps: Apps) -> None:
    calls: list[str] = []

    @activity
    async def note(ctx: WorkflowContext) -> str:
        calls.append("note")
        return "a"

    @activity
    async def never(ctx: WorkflowContext) -> str:
        calls.append("never")
        await asyncio.Event().wait()
        return "never"

    class SlowHooks:
        async def on_activity_complete(self, *arguments: Any) -> None:
            if arguments[-1]:  # from the history
                await pause(0.2)

    async def two(ctx: WorkflowContext) -> str:
        return await note(ctx) + await note(ctx)

    @workflow
    async def flow(ctx: WorkflowContext) -> str | None:
        first = await race(ctx, wins=two(ctx), loses=never(ctx))
        await sleep(ctx, 0.01)
        return first.name

    app = await apps.start(hooks=SlowHooks())
    always_replay(app)

    assert await result_of(app, await flow.start()) == "wins"
    assert sorted(calls) == ["never", "note", "note"]


async def test_steps_of_a_loser_that_a_replay_does_not_reach_are_not_left_over(app: EddaApp) -> None:
    replaying, stepped = False, asyncio.Event()

    @activity
    async def step(ctx: WorkflowContext) -> None: ...

    async def loser(ctx: WorkflowContext) -> None:
        if not replaying:
            await step(ctx)
            stepped.set()
        await asyncio.Event().wait()

    async def winner(ctx: WorkflowContext) -> None:
        await stepped.wait()
        await sleep(ctx, 0.01)

    @workflow
    async def flow(ctx: WorkflowContext) -> str | None:
        first = await race(ctx, loses=loser(ctx), wins=winner(ctx))
        await sleep(ctx, 0.2)
        return first.name

    await stop_claiming(app)
    instance_id = await flow.start()
    assert ("race:1/loses/step:1", "ActivityCompleted") in await steps_of(app, instance_id)
    always_replay(app)
    replaying = True
    go_on_claiming(app)

    assert await result_of(app, instance_id) == "wins"
