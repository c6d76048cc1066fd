"""Recorded outcomes that enter without a turn of the event loop: only where nothing can come before them."""

from __future__ import annotations

import asyncio
from unittest.mock import patch

import pytest

from edda import WorkflowContext, sleep, workflow
from edda.app import EddaApp
from edda.turnstile import Turnstile
from tests.support.apps import always_replay, result_of
from tests.support.eventually import PATIENCE
from tests.support.noting import note


def asking(*steps: str, recorded: str = "abc") -> Turnstile:
    """A turnstile at which these recorded steps ask."""
    turnstile = Turnstile(recorded)
    turnstile.note_caller()
    for step in steps:
        turnstile.claim(step)
    return turnstile


async def test_the_next_outcome_of_a_body_alone_enters_at_once_and_leaves_nothing_to_do() -> None:
    turnstile = asking("a")
    idle: list[bool] = []
    turnstile.when_idle = lambda: idle.append(turnstile.holds_any)
    assert turnstile.admit_at_once("a")
    assert idle == [False]
    assert [*turnstile.unreached()] == ["b", "c"]
    turnstile.leave("a")
    assert not asyncio.get_running_loop()._ready  # type: ignore[attr-defined]


async def test_an_outcome_waits_for_those_that_are_recorded_before_it() -> None:
    assert not asking("b").admit_at_once("b")


async def test_an_outcome_beside_others_that_ask_takes_its_turn() -> None:
    assert not asking("a", "b").admit_at_once("a")


async def test_an_outcome_that_was_passed_over_takes_its_turn() -> None:
    turnstile = asking(recorded="xa")
    async with asyncio.timeout(PATIENCE):
        await turnstile.pass_recorded("a")
    turnstile.claim("x")
    assert not turnstile.admit_at_once("x")


async def test_where_several_branches_were_seen_each_outcome_takes_its_turn() -> None:
    turnstile = asking()

    async def branch() -> None:
        turnstile.note_caller()

    await asyncio.wait({asyncio.create_task(branch())})
    turnstile.claim("a")
    assert not turnstile.admit_at_once("a")


async def test_an_outcome_beside_a_step_that_waits_to_begin_takes_its_turn() -> None:
    turnstile = asking()
    beyond = asyncio.create_task(turnstile.pass_unrecorded())
    await asyncio.sleep(0)
    turnstile.claim("a")
    assert not turnstile.admit_at_once("a")
    beyond.cancel()


async def test_whatever_is_about_to_run_runs_before_the_next_outcome() -> None:
    turnstile = asking("a")
    ran: list[str] = []
    asyncio.get_running_loop().call_soon(ran.append, "made before")
    assert not turnstile.admit_at_once("a")
    async with asyncio.timeout(PATIENCE):
        await turnstile.pass_recorded("a")
    assert ran == ["made before"]


async def test_in_an_event_loop_whose_queue_cannot_be_seen_each_outcome_takes_its_turn() -> None:
    turnstile = asking("a")
    with patch("edda.turnstile.asyncio.get_running_loop", return_value=object()):
        assert not turnstile.admit_at_once("a")


async def test_a_long_replay_lets_others_have_the_event_loop_now_and_then() -> None:
    steps = [f"a:{number}" for number in range(200)]
    turnstile = Turnstile(steps)
    admitted = []
    for step in steps:
        turnstile.claim(step)
        admitted.append(turnstile.admit_at_once(step))
        if not admitted[-1]:
            async with asyncio.timeout(PATIENCE):
                await turnstile.pass_recorded(step)
        turnstile.leave(step)
    assert 3 <= admitted.count(False) <= 10


@workflow
async def at_once_alone(ctx: WorkflowContext, steps: int) -> None:
    for number in range(steps):
        await note(ctx, str(number))
    await sleep(ctx, 3600)


@pytest.mark.parametrize("empty_database_url", ["sqlite"], indirect=True)
async def test_a_body_without_branches_is_replayed_in_few_turns(app: EddaApp) -> None:
    always_replay(app)
    instance_id = await at_once_alone.start(steps=60)
    with patch.object(
        Turnstile, "pass_recorded", autospec=True, side_effect=Turnstile.pass_recorded
    ) as waits:
        await at_once_alone.resume(instance_id)
    # Others may use the event loop at the same time; then each outcome takes its turn.
    assert waits.call_count < 30


seen: list[list[str]] = []
"""What each run of the body below saw, in its order."""


@workflow
async def at_once_branching(ctx: WorkflowContext, where: str) -> None:
    log: list[str] = []
    seen.append(log)
    go_on = asyncio.Event()

    async def branch() -> None:
        if where == "woken":
            await go_on.wait()
        for number in range(3):
            text = await note(ctx, f"branch {number}")
            log.append(text)

    await note(ctx, "before")
    task = asyncio.create_task(branch())
    if where == "woken":
        await asyncio.sleep(0)
        await note(ctx, "in between")
        go_on.set()
    for number in range(3):
        text = await note(ctx, f"body {number}")
        log.append(text)
    await task
    await sleep(ctx, 0.01)


@pytest.mark.parametrize("where", ["made", "woken"])
@pytest.mark.parametrize("empty_database_url", ["sqlite"], indirect=True)
async def test_a_branch_that_was_made_or_woken_calls_its_steps_where_it_did_live(
    app: EddaApp, where: str
) -> None:
    seen.clear()
    always_replay(app)
    await result_of(app, await at_once_branching.start(where=where))
    live, replayed = seen
    assert live == replayed
    assert len(live) == 6
