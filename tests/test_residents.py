"""The parked executions that stay in memory."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from edda.execution import Execution
from edda.residents import Residents


def parked(instance_id: str) -> Execution:
    fake: Any = SimpleNamespace(run=SimpleNamespace(instance_id=instance_id))
    return cast("Execution", fake)


def test_an_execution_is_handed_over_once() -> None:
    residents = Residents(2)
    one = parked("one")
    residents.keep(one)
    assert residents.take("one") is one
    assert residents.take("one") is None


def test_the_one_parked_longest_makes_room() -> None:
    residents = Residents(2)
    one, two, three = parked("one"), parked("two"), parked("three")
    assert residents.keep(one) == residents.keep(two) == []
    assert residents.keep(three) == [one]
    assert (len(residents), residents.take("one"), residents.take("two")) == (2, None, two)


def test_without_room_nothing_is_kept() -> None:
    residents, one = Residents(0), parked("one")
    assert residents.keep(one) == [one]
    assert len(residents) == 0


def test_all_are_handed_over_at_the_end() -> None:
    residents = Residents(3)
    both = [parked("one"), parked("two")]
    for each in both:
        residents.keep(each)
    assert residents.take_all() == both
    assert len(residents) == 0


def test_those_who_wait_for_one_message_alone_are_found_by_its_channel() -> None:
    residents = Residents(3)
    one, two, timer = parked("one"), parked("two"), parked("timer")
    residents.keep(one, "news")
    residents.keep(two, "news")
    residents.keep(timer)
    assert residents.waiting("news") == [one, two]
    assert residents.waiting("other") == []
    assert [residents.waiting_alone(name) for name in ("one", "timer", "nobody")] == [one, None, None]
    residents.take("one")
    assert residents.waiting("news") == [two]
    residents.take_all()
    assert residents.waiting("news") == []


def test_whoever_had_to_make_room_is_not_found_by_its_channel() -> None:
    residents = Residents(1)
    one, two = parked("one"), parked("two")
    residents.keep(one, "news")
    residents.keep(two, "news")
    assert residents.waiting("news") == [two]
    assert residents.waiting_alone("one") is None
