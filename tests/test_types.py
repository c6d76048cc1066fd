"""States and kinds of rows."""

from __future__ import annotations

from edda.types import TERMINAL_STATUSES, EventType, Status


def test_what_has_ended_is_terminal_and_everything_else_live() -> None:
    terminal = {status for status in Status if status.is_terminal}
    assert terminal == TERMINAL_STATUSES == {"completed", "failed", "cancelled", "recurred"}


def test_states_and_kinds_are_their_texts() -> None:
    assert str(Status.WAITING_FOR_TIMER) == "waiting_for_timer"
    assert f"{EventType.ACTIVITY_COMPLETED}" == "ActivityCompleted"
