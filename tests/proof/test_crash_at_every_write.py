"""At every write of a scenario something happens to its worker, and the end is as if nothing had."""

from __future__ import annotations

import os

import pytest

from edda.testing.mortal_worker import Moment
from tests.proof.scenarios import SCENARIOS
from tests.support.crashing import Crashes, Outcome, Scenario, Trial
from tests.support.final_state import difference

# At which commits something happens, from which one on and in which steps. On SQLite the worker dies at
# each; what is rarer, or slow since another worker has to take over, happens at some, and with this
# variable set at each. On servers, where a trial takes several times as long, everything does at some.
IN_EVERY_WAY = "EDDA_CRASH_IN_EVERY_WAY" in os.environ
ON_SQLITE = {
    Moment.BEFORE: (1, 1),
    Moment.AFTER: (1, 1),
    Moment.UNANSWERED: (1, 1) if IN_EVERY_WAY else (1, 3),
    Moment.FROZEN: (1, 1) if IN_EVERY_WAY else (1, 6),
}
ON_SERVERS = {
    Moment.BEFORE: (1, 16),
    Moment.AFTER: (3, 16),
    Moment.UNANSWERED: (5, 16),
    Moment.FROZEN: (7, 16),
}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_the_end_is_that_of_an_undisturbed_run(scenario: Scenario, crashes: Crashes) -> None:
    expected, commits = crashes.undisturbed(scenario)
    again, others = crashes.undisturbed(scenario)
    assert again == expected, "the scenario itself ends in different ways"
    struck: set[str] = set()

    def strike(moment: Moment, first: int, step: int) -> None:
        for trial in crashes.trials(scenario, moment, first=first, step=step):
            check(trial, expected)
            struck.update(trial.writes)

    for moment, (first, step) in (ON_SQLITE if crashes.is_fast else ON_SERVERS).items():
        strike(moment, first, step)
    if crashes.is_fast and IN_EVERY_WAY:
        # Which writes share a commit differs from run to run: only with all trials none is left alone.
        always = {one for writes in commits for one in writes} & {one for writes in others for one in writes}
        assert struck >= always, "some write was left alone"


def check(trial: Trial, expected: Outcome) -> None:
    told = f"its worker {trial.fate.moment.value} commit {trial.fate.number}: {', '.join(trial.writes)}"
    assert trial.outcome.state == expected.state, f"{told}\n{difference(expected.state, trial.outcome.state)}"
    assert trial.outcome.effects.keys() == expected.effects.keys(), told
    repeated = trial.outcome.effects - expected.effects
    if trial.fate.moment is Moment.UNANSWERED:
        assert not repeated, told
    # What was under way when the worker died, and nothing that had been recorded before. Who comes
    # late may try in vain what is bound to fail by now.
    assert trial.fate.moment is Moment.FROZEN or set(repeated.values()) <= {1}, told
