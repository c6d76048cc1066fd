"""Which ids exist, and which of them the body has called."""

from __future__ import annotations

from datetime import UTC, datetime

from edda.journal import Journal, StepIds
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
