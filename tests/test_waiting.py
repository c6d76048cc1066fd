"""What a run waits for, and what it must not be woken for."""

from __future__ import annotations

from edda import clock
from edda.storage.records import WaitRecord
from edda.storage.writes import NewWait
from edda.types import WaitKind
from edda.waiting import Waits


def timer(step_id: str) -> NewWait:
    return NewWait(step_id, WaitKind.TIMER, seconds=60)


def row(step_id: str, remaining: float | None, kind: WaitKind = WaitKind.TIMER) -> WaitRecord:
    return WaitRecord(step_id, kind, remaining, None, None)


async def test_the_first_due_wait_is_the_next() -> None:
    waits = Waits()
    for step_id in ("a", "b", "c"):
        waits.begin(timer(step_id))
    earliest = clock.monotonic() + 300
    waits.note_registered([row("a", 900.0), row("b", 300.0), row("c", None)])
    due = waits.next_due()
    assert due is not None
    assert earliest <= due <= clock.monotonic() + 300


async def test_the_time_of_a_row_runs_from_when_it_was_loaded() -> None:
    waits = Waits([row("a", 300.0)])
    loaded_at = clock.monotonic()
    pending = waits.begin(timer("a"))
    assert pending.registered
    assert pending.due is not None
    assert pending.due <= loaded_at + 300.0


def test_overdue_rows_that_nobody_waits_for_are_silenced_when_the_run_parks() -> None:
    waits = Waits(
        [
            WaitRecord("a:1", WaitKind.RETRY, -1.0, None, '{"n": 1}'),
            row("sleep:1", 0.0),
            row("sleep:2", 9.0),
        ]
    )
    assert waits.silence_overdue() == (NewWait("a:1", WaitKind.RETRY, data='{"n": 1}', replace=True),)
    assert waits.abandoned == {"sleep:1": None}
    assert waits.left_open("sleep:1") is not None
    waits.silence_overdue()
    assert waits.abandoned == {"sleep:1": None}


def test_a_wait_that_is_given_up_is_known_no_more() -> None:
    waits = Waits([row("r:1/a/sleep:1", 9.0), row("r:1/b/sleep:1", 9.0)])
    waits.give_up_under("r:1/a/")
    assert waits.left_open("r:1/a/sleep:1") is None
    assert waits.left_open("r:1/b/sleep:1") is not None
    assert waits.abandoned == {"r:1/a/sleep:1": None}


def for_message(step_id: str = "receive_news:1") -> NewWait:
    return NewWait(step_id, WaitKind.MESSAGE, seconds=60, channel="news")


async def test_news_end_the_waits_for_that_channel_and_leave_their_rows() -> None:
    waits = Waits()
    one, other = waits.begin(for_message()), waits.begin(timer("sleep:1"))
    waits.note_registered([row("receive_news:1", 60.0, WaitKind.MESSAGE), row("sleep:1", 60.0)])
    assert not waits.look_again({"weather"})
    assert waits.look_again({"news"})
    assert (await one.done, other.done.done()) == (False, False)
    due = one.due
    waits.end(one)
    again = waits.begin(for_message())
    assert (again.registered, again.due) == (True, due), "the deadline does not move"


async def test_a_wait_whose_time_has_come_is_over_whatever_the_news() -> None:
    waits = Waits()
    pending = waits.begin(for_message())
    waits.note_registered([row("receive_news:1", -1.0, WaitKind.MESSAGE)])
    assert not waits.look_again()
    waits.fire_due()
    assert await pending.done


async def test_a_run_parks_with_all_its_waits_for_messages() -> None:
    waits = Waits()
    for wait in (for_message(), timer("sleep:1"), timer("sleep:2")):
        waits.begin(wait)
    waits.note_registered([row("receive_news:1", 60.0, WaitKind.MESSAGE), row("sleep:1", 60.0)])
    assert [wait.activity_id for wait in waits.to_park()] == ["receive_news:1", "sleep:2"]


async def test_a_wait_for_a_message_that_is_given_up_names_its_channel() -> None:
    waits = Waits([WaitRecord("receive_news:1", WaitKind.MESSAGE, None, None, None, "news")])
    waits.give_up("receive_news:1")
    assert waits.abandoned == {"receive_news:1": "news"}


async def test_a_message_that_was_taken_leaves_nothing_behind() -> None:
    waits = Waits()
    pending = waits.begin(for_message())
    waits.note_registered([row("receive_news:1", 60.0, WaitKind.MESSAGE)])
    waits.look_again()
    waits.end(pending)
    waits.forget("receive_news:1")
    assert waits.left_open("receive_news:1") is None
