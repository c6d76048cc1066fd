"""The order in which outcomes enter the body."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from edda import RetryExhaustedError, WorkflowContext, activity, sleep, workflow
from edda.app import EddaApp
from edda.turnstile import Turnstile
from tests.support.apps import Apps, always_replay, result_of, steps_of
from tests.support.branching import broken, ids
from tests.support.eventually import PATIENCE, eventually
from tests.support.noting import note


async def _turns(count: int) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(count):
        turn = loop.create_future()
        loop.call_soon(turn.set_result, None)
        await turn


async def _record_and_enter(turnstile: Turnstile, step_id: str) -> None:
    turnstile.expect(step_id)
    turnstile.keep_place(step_id)
    await turnstile.enter(step_id)
    turnstile.leave(step_id)


async def _pass_all(turnstile: Turnstile, asked: Sequence[str]) -> list[str]:
    passed: list[str] = []

    async def ask(step_id: str) -> None:
        turnstile.note_caller()
        await turnstile.pass_recorded(step_id)
        passed.append(step_id)

    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(ask(step_id) for step_id in asked))
    return passed


async def test_recorded_outcomes_return_in_the_order_of_recording() -> None:
    assert await _pass_all(Turnstile("cab"), "abc") == ["c", "a", "b"]


async def test_an_outcome_that_nobody_asks_for_does_not_hold_up_the_others() -> None:
    assert await _pass_all(Turnstile("xcab"), "abc") == ["c", "a", "b"]


async def test_an_outcome_that_was_passed_over_is_let_in_when_it_is_asked_for() -> None:
    turnstile = Turnstile("xa")
    assert await _pass_all(turnstile, "a") == ["a"]
    assert await _pass_all(turnstile, "x") == ["x"]


async def test_a_branch_that_is_cancelled_while_it_waits_lets_the_others_through() -> None:
    turnstile = Turnstile("ab")
    last = asyncio.create_task(turnstile.pass_recorded("b"))
    await asyncio.wait({asyncio.create_task(_turns(2))})
    last.cancel()
    await asyncio.wait({last})
    assert last.cancelled()
    assert await _pass_all(turnstile, "a") == ["a"]


async def test_a_branch_reaches_its_next_call_before_the_next_outcome_enters() -> None:
    order: list[str] = []
    turnstile = Turnstile(["a:1", "b:1"])

    async def branch(name: str) -> None:
        turnstile.note_caller()
        await turnstile.pass_recorded(f"{name}:1")
        order.append(f"{name} entered")
        await _turns(3)
        order.append(f"{name} called")

    await asyncio.gather(branch("b"), branch("a"))

    assert order == ["a entered", "a called", "b entered", "b called"]


async def test_live_outcomes_of_one_task_enter_at_once_and_wake_nobody() -> None:
    woken: list[str] = []
    turnstile = Turnstile()
    turnstile.when_idle = lambda: woken.append("the driver of the run")
    turnstile.note_caller()
    with pytest.raises(StopIteration):
        _record_and_enter(turnstile, "a:1").send(None)
    await _turns(3)
    assert not woken


async def test_live_outcomes_of_several_tasks_enter_one_at_a_time() -> None:
    order: list[str] = []
    turnstile = Turnstile()

    async def branch(name: str) -> None:
        turnstile.note_caller()
        await _turns(1)
        await _record_and_enter(turnstile, name)
        order.append(f"{name} entered")
        await _turns(3)
        order.append(f"{name} called")

    turnstile.note_caller()
    await asyncio.gather(branch("a"), branch("b"))

    assert order == ["a entered", "a called", "b entered", "b called"]


async def test_an_outcome_enters_where_its_place_was_kept() -> None:
    order: list[str] = []
    turnstile = Turnstile()
    turnstile.expect("late")
    turnstile.keep_place("late")

    async def late() -> None:
        turnstile.note_caller()
        await _turns(50)
        await turnstile.enter("late")
        order.append("late")

    async def early() -> None:
        turnstile.note_caller()
        await _record_and_enter(turnstile, "early")
        order.append("early")

    turnstile.note_caller()
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(early(), late())

    assert order == ["late", "early"]


async def test_a_place_that_is_given_up_holds_nobody_up() -> None:
    turnstile = Turnstile()
    for step_id in ("repeated", "left"):
        turnstile.expect(step_id)
        turnstile.keep_place(step_id)
    turnstile.note_caller()

    async def branch() -> None:
        turnstile.note_caller()
        await _record_and_enter(turnstile, "a")

    async with asyncio.timeout(PATIENCE):
        passing = asyncio.create_task(branch())
        await _turns(20)
        turnstile.give_place_back("repeated")
        await _turns(20)
        assert not passing.done()
        turnstile.leave("left")
        turnstile.leave("left")
        await passing


async def test_a_place_that_was_given_back_can_be_taken_anew_behind_the_others() -> None:
    order: list[str] = []
    turnstile = Turnstile()

    async def branch(name: str) -> None:
        turnstile.note_caller()
        await turnstile.enter(name)
        order.append(name)

    for name in ("repeated", "other"):
        turnstile.expect(name)
        turnstile.keep_place(name)
    turnstile.give_place_back("repeated")
    turnstile.keep_place("repeated")
    turnstile.note_caller()
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(branch("repeated"), branch("other"))

    assert order == ["other", "repeated"]


async def test_a_recorded_outcome_on_its_way_is_waited_for_without_spinning() -> None:
    order: list[str] = []
    turnstile = Turnstile("ab")
    arrived = asyncio.Event()

    async def first() -> None:
        turnstile.claim("a")
        await arrived.wait()
        await turnstile.pass_recorded("a")
        order.append("a")

    async def second() -> None:
        await turnstile.pass_recorded("b")
        order.append("b")

    async with asyncio.timeout(PATIENCE):
        both = asyncio.gather(first(), second())
        await _turns(500)
        assert not turnstile._pumping
        assert order == []
        arrived.set()
        await both

    assert order == ["a", "b"]


async def test_a_recorded_outcome_that_was_passed_over_may_be_on_its_way_too() -> None:
    turnstile = Turnstile("xa")
    assert await _pass_all(turnstile, "a") == ["a"]
    turnstile.claim("x")
    beyond = asyncio.create_task(turnstile.pass_unrecorded())
    async with asyncio.timeout(PATIENCE):
        await turnstile.pass_recorded("x")
        await beyond


async def test_a_recorded_outcome_that_does_not_come_holds_nobody_up() -> None:
    turnstile = Turnstile("ab")
    turnstile.claim("a")
    async with asyncio.timeout(PATIENCE):
        passing = asyncio.create_task(turnstile.pass_recorded("b"))
        await _turns(500)
        assert not passing.done()
        turnstile.leave("a")
        await passing


async def test_what_is_not_recorded_begins_after_all_that_is_recorded() -> None:
    turnstile = Turnstile("ab")
    order: list[str] = []

    async def beyond() -> None:
        await turnstile.pass_unrecorded()
        order.append("beyond")

    async def in_turn() -> None:
        for step_id in "ab":
            await turnstile.pass_recorded(step_id)
            order.append(step_id)

    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(beyond(), in_turn())

    assert order == ["a", "b", "beyond"]


async def test_what_is_not_recorded_does_not_wait_for_what_nobody_asks_for() -> None:
    async with asyncio.timeout(PATIENCE):
        await Turnstile("x").pass_unrecorded()


async def test_forgotten_outcomes_hold_up_nobody() -> None:
    turnstile = Turnstile(["race:1/0/a:1"])
    turnstile.forget("race:1/0/")
    passing = turnstile.pass_unrecorded()
    try:
        passing.send(None)
    except StopIteration:
        return
    raise AssertionError("it waits for an outcome that was forgotten")


entered: list[list[str]] = []
"""What each run of a body saw, in its order."""


async def _until_others_are_recorded(app: EddaApp, instance_id: str) -> None:
    """Return when a later step of another branch is recorded, and has had time to enter the body."""

    async def check() -> None:
        assert "note:1" in ids(await steps_of(app, instance_id))

    await eventually(check)
    await _turns(500)


async def _beside_another_branch(ctx: WorkflowContext, slow: Any) -> None:
    """One branch with a slow end of its first step, one with a quick one; then both use one counter."""
    log: list[str] = []
    entered.append(log)

    async def first() -> None:
        try:
            await slow()
        except (RetryExhaustedError, OSError):
            log.append("failed")
        log.append("slow")
        log.append(await note(ctx, "after slow"))

    async def second() -> None:
        log.append(await note(ctx, "quick"))
        log.append(await note(ctx, "after quick"))

    await asyncio.gather(first(), second())
    await sleep(ctx, 0.01)


async def _saw_the_same(app: EddaApp, instance_id: str) -> bool:
    await result_of(app, instance_id)
    live, replayed = entered
    return live == replayed


class _SlowHooks:
    """Its hooks take long for one activity, live or on replay."""

    def __init__(self, *, live: bool) -> None:
        self.live = live
        self.app: EddaApp | None = None

    async def _hook(self, instance_id: str, activity_name: str, *, cached: bool) -> None:
        assert self.app is not None
        if activity_name in ("slow_end", "broken") and cached is not self.live:
            await _until_others_are_recorded(self.app, instance_id)

    async def on_activity_start(
        self, instance_id: str, activity_id: str, activity_name: str, is_replaying: bool
    ) -> None:
        if is_replaying:
            await self._hook(instance_id, activity_name, cached=True)

    async def on_activity_complete(
        self, instance_id: str, activity_id: str, activity_name: str, result: Any, cache_hit: bool
    ) -> None:
        await self._hook(instance_id, activity_name, cached=cache_hit)

    async def on_activity_failed(
        self, instance_id: str, activity_id: str, activity_name: str, error: BaseException
    ) -> None:
        await self._hook(instance_id, activity_name, cached=len(entered) > 1)


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("live", [True, False])
async def test_slow_hooks_do_not_change_the_order(apps: Apps, live: bool, fails: bool) -> None:
    entered.clear()
    hooks = _SlowHooks(live=live)
    hooks.app = app = await apps.start(hooks=hooks)
    always_replay(app)

    @activity
    async def slow_end(ctx: WorkflowContext) -> None:
        """Nothing to do."""

    @workflow
    async def hooked(ctx: WorkflowContext) -> None:
        await _beside_another_branch(ctx, lambda: broken(ctx, "x") if fails else slow_end(ctx))

    assert await _saw_the_same(app, await hooked.start())


@pytest.mark.parametrize("place", ["activity", "session", "block"])
async def test_slow_post_commit_callbacks_do_not_change_the_order(app: EddaApp, place: str) -> None:
    entered.clear()
    always_replay(app)

    async def tell(ctx: WorkflowContext) -> None:
        await _until_others_are_recorded(app, ctx.instance_id)

    @activity
    async def calls_back(ctx: WorkflowContext) -> None:
        ctx.register_post_commit(lambda: tell(ctx))
        if place == "session":
            await ctx.session.connection()

    @workflow
    async def called_back(ctx: WorkflowContext) -> None:
        async def block() -> None:
            async with ctx.transaction():
                ctx.register_post_commit(lambda: tell(ctx))

        await _beside_another_branch(ctx, block if place == "block" else lambda: calls_back(ctx))

    assert await _saw_the_same(app, await called_back.start())


async def test_a_post_commit_callback_can_run_activities(app: EddaApp) -> None:

    @activity
    async def calls_back(ctx: WorkflowContext) -> None:
        ctx.register_post_commit(lambda: note(ctx, "called back"))

    @workflow
    async def with_steps(ctx: WorkflowContext) -> list[str]:
        await asyncio.gather(calls_back(ctx), note(ctx, "beside"))
        return ids(await steps_of(app, ctx.instance_id))

    assert sorted(await result_of(app, await with_steps.start())) == [
        "calls_back:1",
        "calls_back:1/note:1",
        "note:1",
    ]
