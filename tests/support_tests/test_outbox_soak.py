"""The soak finds what it is there to find."""

from __future__ import annotations

from collections import defaultdict

import pytest

from tests.support.outbox_soak import Arrivals, Load

LOAD = Load(events=4, keys=2, relayers=1, kills=0, within=1)


def arrived(*names: str, body: int = 0) -> Arrivals:
    arrivals = Arrivals([], defaultdict(set))
    for name in names:
        arrivals.names.append(name)
        arrivals.bodies[name].add(body)
    return arrivals


def test_everything_in_order_with_repetitions_passes() -> None:
    arrivals = arrived("0-0", "1-0", "0-0", "0-1", "1-1", "1-0")
    arrivals.check(LOAD)
    assert arrivals.repeated == 2


@pytest.mark.parametrize(
    "names",
    [
        ["0-0", "1-0", "0-1"],
        ["0-0", "1-0", "0-1", "1-1", "9-9"],
        ["0-1", "0-0", "1-0", "1-1"],
    ],
)
def test_what_is_lost_invented_or_out_of_order_fails(names: list[str]) -> None:
    with pytest.raises(AssertionError):
        arrived(*names).check(LOAD)


def test_another_event_under_the_same_id_fails() -> None:
    arrivals = arrived("0-0", "1-0", "0-1", "1-1")
    arrivals.bodies["0-0"].add(1)
    with pytest.raises(AssertionError, match="another body"):
        arrivals.check(LOAD)
