"""When the broker counts as away, and when as back."""

from __future__ import annotations

from edda.outbox.answers import Postponed, Published, Refused
from edda.outbox.outage import Outage

AWAY = Postponed("HTTP 503: ", broker_away=True)


def test_three_failures_in_a_row_are_an_outage() -> None:
    outage = Outage()
    for expected in (False, False, True, True):
        assert not outage.note(AWAY)
        assert outage.is_on is expected


def test_the_first_success_ends_it() -> None:
    outage = Outage()
    for _ in range(3):
        outage.note(AWAY)
    assert [outage.note(Published()) for _ in range(2)] == [True, False]
    assert not outage.is_on


def test_one_event_that_fails_while_others_pass_is_no_outage() -> None:
    outage = Outage()
    for answer in (AWAY, AWAY, Published(), AWAY, AWAY, Published()):
        assert not outage.note(answer)
    assert not outage.is_on


def test_answers_about_an_event_say_nothing_about_the_broker() -> None:
    outage = Outage()
    for answer in (Refused("HTTP 404: "), Postponed("HTTP 500: ", counts=True), Postponed("HTTP 429: ")):
        assert not any(outage.note(answer) for _ in range(5))
    assert not outage.is_on
