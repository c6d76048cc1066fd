from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from edda.codec.json import dumps
from edda.codec.values import Encoded
from edda.registrations import Cleared, Registered, Registrations, as_json, changes_in, withdrawn
from edda.storage.records import HistoryRecord
from edda.types import EventType


def registered(number: int, **more: Any) -> Registered:
    return Registered(number, "shop:undo", "undo", Encoded({"args": [], "kwargs": {"item": number}}, **more))


def row(step_id: str, event_type: EventType, **fields: Any) -> HistoryRecord:
    return HistoryRecord(0, "i-1", step_id, event_type, dumps(fields), datetime(2024, 1, 1, tzinfo=UTC))


def activity(step_id: str, *changes: Registered | Cleared) -> HistoryRecord:
    return row(
        step_id, EventType.ACTIVITY_COMPLETED, activity_name="f", result=1, compensations=as_json(changes)
    )


def test_a_registration_in_a_row_comes_back_as_it_was() -> None:
    change = registered(7, types={"/kwargs/item": "int"})
    assert changes_in(activity("f:1", change, Cleared((3, 7)))) == [change, Cleared((3, 7))]


def test_the_newest_registration_is_compensated_first() -> None:
    history = [activity("f:1", registered(1), registered(2)), activity("g:1", registered(3))]
    assert [found.compensation_id for found in Registrations(history).newest_first] == [3, 2, 1]


def test_what_has_an_outcome_is_not_compensated_again() -> None:
    history = [
        activity("f:1", registered(1), registered(2), registered(3)),
        row("compensation_3", EventType.COMPENSATION_EXECUTED),
        row("compensation_2", EventType.COMPENSATION_FAILED),
    ]
    assert Registrations(history).ids == (1,)


def test_steps_inside_a_compensation_neither_end_nor_register_one() -> None:
    history = [activity("f:1", registered(1)), activity("compensation_1/f:1", registered(2))]
    assert Registrations(history).ids == (1,)


def test_what_was_cleared_is_forgotten_and_what_came_later_is_not() -> None:
    history = [
        activity("f:1", registered(1)),
        row("clear_compensations:1", EventType.COMPENSATIONS_CLEARED, **Cleared((1,)).to_json()),
        row("register_compensation_undo:1", EventType.COMPENSATION_REGISTERED, **registered(2).to_json()),
    ]
    assert Registrations(history).ids == (2,)


def test_after_a_pivot_nothing_is_compensated() -> None:
    history = [
        activity("f:1", registered(1)),
        row("f:2/pivot:1", EventType.PIVOT_PASSED, **Cleared(()).to_json()),
        activity("f:2", registered(2)),
    ]
    registrations = Registrations(history)
    assert (registrations.ids, registrations.find(2)) == ((), registered(2))


@pytest.mark.parametrize("kind", [EventType.PIVOT_PASSED, EventType.COMPENSATIONS_CLEARED])
def test_what_was_cleared_after_a_request_to_cancel_is_compensated(kind: EventType) -> None:
    history = [
        activity("f:1", registered(1)),
        row("workflow_cancelled", EventType.WORKFLOW_CANCELLED),
        row("x:1", kind, **Cleared((1,)).to_json()),
        activity("f:2", registered(2), Cleared((1, 2))),
    ]
    assert Registrations(history).ids == (1, 2)


def test_new_numbers_are_above_all_that_the_history_has_seen() -> None:
    history = [activity("f:1", registered(4)), row("compensation_9", EventType.COMPENSATION_EXECUTED)]
    registrations = Registrations(history)
    assert [registrations.next_id(), registrations.next_id()] == [10, 11]


def test_a_result_that_looks_like_registrations_is_a_result() -> None:
    looks_like = row("f:1", EventType.ACTIVITY_COMPLETED, result={"compensations": [registered(1).to_json()]})
    assert not Registrations([looks_like])


def test_a_row_that_the_run_does_not_know_has_the_history_asked() -> None:
    registrations = Registrations()
    registrations.note_unknown()
    assert registrations
    assert registrations.ids == ()


def test_the_rows_of_a_rolled_back_transaction_register_nothing() -> None:
    rows = [
        activity("f:1", registered(1)),
        row("register_compensation_undo:1", EventType.COMPENSATION_REGISTERED, **registered(2).to_json()),
        row("clear_compensations:1", EventType.COMPENSATIONS_CLEARED, **Cleared((1,)).to_json()),
    ]
    undone = [
        HistoryRecord(
            0,
            "i-1",
            old.activity_id,
            old.event_type,
            withdrawn(old.event_type, old.event_data),
            old.created_at,
        )
        for old in rows
    ]
    assert [list(changes_in(record)) for record in undone] == [[], [], []]
    assert '"result":1' in undone[0].event_data
