"""The first of several durable operations: who wins, what losers leave, and what a replay sees."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from edda import RetryExhaustedError, RetryPolicy, WorkflowContext, activity, gather, race, sleep, workflow
from edda.app import EddaApp
from edda.exceptions import NonDeterminismError
from tests.support.apps import Apps, always_replay, instance, reached, result_of, steps_of
from tests.support.branching import LONG, begun, broken, ended, gate, gated, ids
from tests.support.eventually import eventually
from tests.support.noting import calls, note


async def test_the_first_to_end_wins_and_is_recorded(any_app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> list[Any]:
        first = await race(ctx, sleep(ctx, LONG), note(ctx, "a"))
        await sleep(ctx, 0.01)
        return [first.index, first.name, first.value, await note(ctx, "b")]

    instance_id = await flow.start()

    assert await result_of(any_app, instance_id) == [1, None, "a", "b"]
    assert calls == ["a", "b"]
    assert await steps_of(any_app, instance_id) == [
        ("note:1", "ActivityCompleted"),
        ("race:1", "RaceWon"),
        ("sleep:2", "TimerExpired"),
        ("note:2", "ActivityCompleted"),
    ]
    rows = await any_app.storage.get_history(instance_id)
    assert rows[1]["event_data"] == {"winner": "1", "index": 1}


async def test_a_branch_with_a_name_wins_under_it(any_app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> list[Any]:
        first = await race(ctx, gated(ctx, "never"), late=sleep(ctx, 0.05))
        await sleep(ctx, 0.01)
        return [first.index, first.name, first.value]

    assert await result_of(any_app, await flow.start()) == [1, "late", None]


async def test_an_activity_in_flight_that_loses_is_cancelled_and_not_recorded(any_app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> str | None:
        first = await race(ctx, work=gated(ctx, "never"), late=sleep(ctx, 0.05))
        await sleep(ctx, 0.01)
        await sleep(ctx, 0.01)
        return first.name

    instance_id = await flow.start()

    assert await result_of(any_app, instance_id) == "late"
    assert (calls, ended) == (["never"], ["never"])
    assert ids(await steps_of(any_app, instance_id)) == ["sleep:1", "race:1", "sleep:2", "sleep:3"]


async def test_the_wait_of_a_loser_wakes_nobody_afterwards(any_app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await race(ctx, sleep(ctx, 0.05), sleep(ctx, LONG))
        await sleep(ctx, LONG)

    instance_id = await flow.start()
    await eventually(lambda: _has_steps(any_app, instance_id, 2))
    row = await reached(any_app, instance_id, "waiting_for_timer")
    waits = await any_app.storage.load_waits(instance_id)

    assert [wait.activity_id for wait in waits] == ["sleep:3"]
    assert row["current_activity_id"] == "sleep:3"


async def test_the_back_off_of_a_loser_wakes_nobody_afterwards(any_app: EddaApp) -> None:
    @activity(retry_policy=RetryPolicy(initial_interval=60))
    async def failing(ctx: WorkflowContext) -> None:
        raise OSError("no")

    @activity(retry_policy=RetryPolicy(initial_interval=4))
    async def failing_soon(ctx: WorkflowContext) -> None:
        raise OSError("no")

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await race(ctx, failing(ctx), failing_soon(ctx), sleep(ctx, 0.3))
        await sleep(ctx, LONG)

    instance_id = await flow.start()
    await eventually(lambda: _has_steps(any_app, instance_id, 2))
    await reached(any_app, instance_id, "waiting_for_timer")

    assert [wait.activity_id for wait in await any_app.storage.load_waits(instance_id)] == ["sleep:2"]


async def test_an_error_of_the_winner_is_raised_each_time(any_app: EddaApp) -> None:
    seen: list[Any] = []

    @workflow
    async def flow(ctx: WorkflowContext) -> str:
        try:
            await race(ctx, broken(ctx, "x"), sleep(ctx, LONG))
        except RetryExhaustedError as error:
            seen.append((type(error.__cause__), error.args))
        await sleep(ctx, 0.01)
        await sleep(ctx, 0.01)
        return "handled"

    instance_id = await flow.start()

    assert await result_of(any_app, instance_id) == "handled"
    assert len(set(seen)) == 1
    assert ids(await steps_of(any_app, instance_id))[:2] == ["broken:1", "race:1"]


# race: branches of several steps


async def test_steps_in_a_branch_are_numbered_under_it(any_app: EddaApp) -> None:
    async def two(ctx: WorkflowContext, text: str) -> str:
        return await note(ctx, text) + await note(ctx, text)

    async def slow(ctx: WorkflowContext) -> str:
        await note(ctx, "z")
        await sleep(ctx, LONG)
        return "never"

    @workflow
    async def flow(ctx: WorkflowContext) -> list[Any]:
        first = await race(ctx, slow(ctx), quick=two(ctx, "a"))
        await sleep(ctx, 0.01)
        return [first.name, first.value, await note(ctx, "b")]

    instance_id = await flow.start()

    assert await result_of(any_app, instance_id) == ["quick", "aa", "b"]
    assert sorted(calls) == ["a", "a", "b", "z"]
    assert set(ids(await steps_of(any_app, instance_id))) == {
        "race:1/0/note:1",
        "race:1/quick/note:1",
        "race:1/quick/note:2",
        "race:1",
        "sleep:1",
        "note:1",
    }


async def test_a_loser_can_clean_up_with_steps_before_the_race_ends(any_app: EddaApp) -> None:
    async def careful(ctx: WorkflowContext) -> None:
        await note(ctx, "reserve")
        try:
            await gated(ctx, "never")
        finally:
            await note(ctx, "release")

    async def late(ctx: WorkflowContext) -> None:
        await begun("never").wait()
        await sleep(ctx, 0.01)

    @workflow
    async def flow(ctx: WorkflowContext) -> str | None:
        first = await race(ctx, work=careful(ctx), late=late(ctx))
        await sleep(ctx, 0.01)
        await sleep(ctx, 0.01)
        return first.name

    instance_id = await flow.start()

    assert await result_of(any_app, instance_id) == "late"
    assert calls == ["reserve", "never", "release"]
    assert ids(await steps_of(any_app, instance_id)) == [
        "race:1/work/note:1",
        "race:1/late/sleep:1",
        "race:1/work/note:2",
        "race:1",
        "sleep:1",
        "sleep:2",
    ]


async def test_an_error_of_a_loser_while_it_is_cancelled_is_logged(
    app: EddaApp, caplog: pytest.LogCaptureFixture
) -> None:
    async def clumsy(ctx: WorkflowContext) -> None:
        try:
            await sleep(ctx, LONG)
        finally:
            raise OSError("cleaning up failed")

    @workflow
    async def flow(ctx: WorkflowContext) -> str:
        won = await race(ctx, note(ctx, "a"), clumsy(ctx))
        return f"{won.value}"

    with caplog.at_level(logging.WARNING, "edda.races"):
        assert await result_of(app, await flow.start()) == "a"

    assert "raised while it was cancelled: OSError('cleaning up failed')" in caplog.text


async def test_races_inside_gather_and_gather_inside_races(any_app: EddaApp) -> None:
    async def inner(ctx: WorkflowContext, text: str) -> str:
        text, _ = await gather(note(ctx, text), sleep(ctx, 0.02))
        return f"{text}"

    @workflow
    async def flow(ctx: WorkflowContext) -> list[Any]:
        first, second = await gather(
            race(ctx, inner(ctx, "a"), sleep(ctx, LONG)),
            race(ctx, race(ctx, sleep(ctx, LONG), late=sleep(ctx, 0.05)), gated(ctx, "never")),
        )
        await sleep(ctx, 0.01)
        return [first.index, first.value, second.index, await note(ctx, "b")]

    assert await result_of(any_app, await flow.start()) == [0, "a", 0, "b"]
    assert sorted(calls) == ["a", "b", "never"]


async def test_a_race_that_is_cancelled_ends_all_its_branches(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> str:
        racing = asyncio.create_task(race(ctx, gated(ctx, "a"), gated(ctx, "b")))
        await begun("a").wait()
        await begun("b").wait()
        racing.cancel()
        await asyncio.wait({racing})
        return f"cancelled: {racing.cancelled()}"

    assert await result_of(app, await flow.start()) == "cancelled: True"
    assert sorted(ended) == ["a", "b"]


async def test_a_race_inside_an_activity_is_no_step_of_its_own(app: EddaApp) -> None:
    @activity
    async def hedged(ctx: WorkflowContext) -> int:
        return (await race(ctx, asyncio.Event().wait(), asyncio.sleep(0))).index

    @workflow
    async def flow(ctx: WorkflowContext) -> int:
        return await hedged(ctx)

    instance_id = await flow.start()

    assert await result_of(app, instance_id) == 1
    assert ids(await steps_of(app, instance_id)) == ["hedged:1"]


@pytest.mark.parametrize("names", [(), ("0",), ("a/b",)])
def test_a_race_needs_a_branch_and_names_that_keep_ids_apart(names: tuple[str, ...]) -> None:
    async def branch() -> None:
        """Never begun."""

    ctx: Any = WorkflowContext("i", "w", None, "worker")  # type: ignore[arg-type]
    unnamed = [branch()] if names else []
    with pytest.raises(ValueError, match="at least one branch, and names that are not"):
        _ = race(ctx, *unnamed, **{name: branch() for name in names})


# replays and crashes of a race


async def test_the_recorded_winner_stands_whatever_ends_first_in_a_replay(apps: Apps) -> None:
    first = await apps.start()
    at_once = False

    async def slow_or_not(ctx: WorkflowContext) -> str:
        if not at_once:
            await gated(ctx, "never")
        return "free"

    @workflow
    async def flow(ctx: WorkflowContext) -> str | None:
        won = await race(ctx, free=slow_or_not(ctx), step=note(ctx, "a"))
        await sleep(ctx, 0.5)
        return won.name

    instance_id = await flow.start()
    await first.shutdown()
    at_once = True
    second = await apps.start()

    assert await result_of(second, instance_id) == "step"


async def test_a_crash_before_the_race_is_recorded_leaves_it_to_the_recorded_step(
    apps: Apps, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await apps.start()

    @workflow
    async def flow(ctx: WorkflowContext) -> str | None:
        won = await race(ctx, loses=gated(ctx, "x"), wins=note(ctx, "a"))
        return won.name

    submit = first.storage.submit

    async def dies_at_the_race(write: Any, **options: Any) -> Any:
        if getattr(write, "event_type", None) == "RaceWon":
            await asyncio.Event().wait()
        return await submit(write, **options)

    monkeypatch.setattr(first.storage, "submit", dies_at_the_race)
    first.drain_seconds = 0.2
    starting = asyncio.create_task(flow.start())
    await eventually(lambda: _assert(ended == ["x"]))
    await first.shutdown()
    with pytest.raises(RuntimeError) as caught:
        await starting
    gate("x").set()
    second = await apps.start()

    assert await result_of(second, caught.value.instance_id) == "wins"  # type: ignore[attr-defined]
    assert calls == ["x", "a"], "the loser is not begun again"


async def test_a_replay_does_not_park_before_a_branch_that_is_held_up_has_come_to_its_wait(
    any_app: EddaApp,
) -> None:
    """A branch of several steps replays and sleeps, while the timer that is over is not asked for yet."""

    async def long(ctx: WorkflowContext) -> None:
        await note(ctx, "a")
        await sleep(ctx, LONG)

    @workflow
    async def flow(ctx: WorkflowContext) -> str | None:
        first = await race(ctx, long=long(ctx), short=sleep(ctx, 0.3))
        await sleep(ctx, 0.01)
        return first.name

    assert await result_of(any_app, await flow.start()) == "short"
    assert calls == ["a"]


async def test_a_winner_that_is_no_branch_any_more_stops_the_run(app: EddaApp) -> None:
    renamed = False

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        names = {"other" if renamed else "step": note(ctx, "a"), "late": sleep(ctx, LONG)}
        await race(ctx, **names)
        await sleep(ctx, LONG)

    always_replay(app)
    instance_id = await flow.start()
    renamed = True

    with pytest.raises(NonDeterminismError, match="attempts race 'race:1' of other, late"):
        await flow.resume(instance_id)
    assert (await instance(app, instance_id))["status"] not in ("failed", "completed")


async def _has_steps(app: EddaApp, instance_id: str, count: int) -> None:
    assert len(await steps_of(app, instance_id)) >= count


def _assert(condition: bool) -> None:
    assert condition
