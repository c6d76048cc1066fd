"""Ids, and the order in which outcomes enter the body."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from edda.journal import Journal, StepIds, Turnstile
from edda.storage.records import HistoryRecord
from edda.types import EventType


def recorded(*step_ids: str) -> list[HistoryRecord]:
    """A history of completed steps."""
    now = datetime(2030, 1, 1, tzinfo=UTC)
    kind = EventType.ACTIVITY_COMPLETED
    return [HistoryRecord(n, "i", step_id, kind, "{}", now) for n, step_id in enumerate(step_ids)]


def test_each_base_counts_from_1() -> None:
    journal = Journal()
    taken = [journal.take(base) for base in ("a", "b", "a", "a", "b")]
    assert taken == ["a:1", "b:1", "a:2", "a:3", "b:2"]


def test_an_id_given_by_hand_is_passed_over() -> None:
    journal = Journal()
    assert journal.take_given("a:1")
    assert journal.take("a") == "a:2"


def test_an_id_can_be_given_once() -> None:
    journal = Journal()
    assert journal.take_given("x")
    assert not journal.take_given("x")
    journal.take("a")
    assert not journal.take_given("a:1")


def test_a_journal_replays_until_the_first_step_that_is_not_recorded() -> None:
    journal = Journal(recorded("a:1"))
    assert journal.replaying
    assert journal.find("a:1") is not None
    assert journal.replaying
    assert journal.find("a:2") is None
    assert not journal.replaying


def test_a_journal_without_history_does_not_replay() -> None:
    assert not Journal().replaying


def test_left_over_is_what_is_recorded_and_was_not_called() -> None:
    journal = Journal(recorded("a:1", "b:1", "c:1"))
    journal.take("b")
    assert [record.activity_id for record in journal.leftovers()] == ["a:1", "c:1"]


async def _pass_all(turnstile: Turnstile, asked: Sequence[str]) -> list[str]:
    passed: list[str] = []

    async def ask(step_id: str) -> None:
        turnstile.note_caller()
        await turnstile.pass_recorded(step_id)
        passed.append(step_id)

    async with asyncio.timeout(5):
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
        await turnstile.pass_recorded(f"{name}:1")
        order.append(f"{name} entered")
        await _turns(3)
        order.append(f"{name} called")

    await asyncio.gather(branch("b"), branch("a"))

    assert order == ["a entered", "a called", "b entered", "b called"]


async def test_live_outcomes_of_one_task_enter_at_once() -> None:
    turnstile = Turnstile()
    turnstile.note_caller()
    passing = turnstile.pass_live()
    try:
        passing.send(None)
    except StopIteration:
        return
    raise AssertionError("a single branch waited for its turn")


async def test_live_outcomes_of_several_tasks_enter_one_at_a_time() -> None:
    order: list[str] = []
    turnstile = Turnstile()

    async def branch(name: str) -> None:
        turnstile.note_caller()
        await _turns(1)
        await turnstile.pass_live()
        order.append(f"{name} entered")
        await _turns(3)
        order.append(f"{name} called")

    turnstile.note_caller()
    await asyncio.gather(branch("a"), branch("b"))

    assert order == ["a entered", "a called", "b entered", "b called"]


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

    async with asyncio.timeout(5):
        await asyncio.gather(beyond(), in_turn())

    assert order == ["a", "b", "beyond"]


async def test_what_is_not_recorded_does_not_wait_for_what_nobody_asks_for() -> None:
    async with asyncio.timeout(5):
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


def test_what_is_excused_is_not_left_over() -> None:
    journal = Journal(recorded("race:1/0/a:1", "race:1/1/a:1"))
    journal.excuse("race:1/0/")
    assert [record.activity_id for record in journal.leftovers()] == ["race:1/1/a:1"]


def test_what_is_drawn_is_counted_by_kind_and_named_by_its_place() -> None:
    ids = StepIds("outer:1/")
    assert [ids.draw(kind) for kind in ("uuid4", "random", "uuid4")] == [
        "outer:1/uuid4:1",
        "outer:1/random:1",
        "outer:1/uuid4:2",
    ]


async def _turns(count: int) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(count):
        turn = loop.create_future()
        loop.call_soon(turn.set_result, None)
        await turn
