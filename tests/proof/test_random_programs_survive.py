"""Random programs end the same resident, replayed at each wait, and whenever their worker dies.

The same means: each row of every table, the history of each instance included, and every
effect outside the database; what is free is told by ``forget_what_is_free``.
``EDDA_RANDOM_PROGRAMS`` says how many programs there are on SQLite instead of a few that are
the same each time; on servers there is one for ten of them.
"""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from edda.testing.mortal_worker import Fate, Moment
from tests.proof.test_crash_at_every_write import check
from tests.support.crashing import Crashes, Scenario
from tests.support.final_state import difference
from tests.support.generated import PROGRAMS, Node, forget_what_is_free, playing

CHOSEN = os.environ.get("EDDA_RANDOM_PROGRAMS")
ON_SQLITE = int(CHOSEN or 40)
ON_SERVERS = max(1, ON_SQLITE // 10)


def _ends_the_same(crashes: Crashes, program: Node, moments: list[Moment], places: list[float]) -> None:
    resident = Scenario("generated", playing(program), forget=forget_what_is_free)
    replayed = replace(resident, is_resident=False)
    expected, commits = crashes.undisturbed(resident)
    again, others = crashes.undisturbed(replayed)
    assert again.state == expected.state, f"replayed: {difference(expected.state, again.state)}"
    assert again.effects == expected.effects
    for scenario, counted, moment, place in zip(
        (resident, replayed), (commits, others), moments, places, strict=True
    ):
        trial = crashes.trial(scenario, Fate(moment, 1 + int(place * len(counted))))
        if trial is not None:  # else it came with fewer commits this time
            check(trial, expected)


DRAWN = given(
    program=PROGRAMS,
    moments=st.lists(st.sampled_from(Moment), min_size=2, max_size=2),
    places=st.lists(st.floats(0, 1, exclude_max=True), min_size=2, max_size=2),
)


@pytest.mark.timeout(0 if CHOSEN else 300)
def test_a_random_program_ends_as_if_nothing_had_happened(crashes: Crashes) -> None:
    chosen = settings(
        max_examples=ON_SQLITE if crashes.is_fast else ON_SERVERS,
        derandomize=CHOSEN is None,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink) if CHOSEN else (Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )

    @chosen
    @DRAWN
    def ends_the_same(program: Node, moments: list[Moment], places: list[float]) -> None:
        _ends_the_same(crashes, program, moments, places)

    ends_the_same()
