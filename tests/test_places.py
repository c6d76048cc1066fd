"""The places for claimed runs."""

from __future__ import annotations

from edda.places import Places


def test_a_place_that_is_given_back_is_told_of_only_if_all_were_taken() -> None:
    told: list[bool] = []
    places = Places(2, when_free=lambda: told.append(True))
    places.take()
    places.give_back()
    assert (places.free, told) == (2, [])
    places.take()
    places.take()
    assert places.free == 0
    places.give_back()
    assert (places.free, told) == (1, [True])


def test_nobody_takes_a_place_out_of_turn_while_others_wait_for_one() -> None:
    places = Places(1)
    places.is_awaited = True
    assert not places.take_unless_awaited()
    places.is_awaited = False
    assert places.take_unless_awaited()
    assert not places.take_unless_awaited(), "it was the last"
