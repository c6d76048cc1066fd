"""One random sequence of storage operations is answered the same by each database and by the model.

Traps: a zombie writes after its lease is lost, a message is lost between the last look and
the parking, positions pass over a message, competing consumers leave one behind.
"""

from __future__ import annotations

import os
from typing import Final

import pytest
from hypothesis import HealthCheck, Phase, settings

from edda.storage import delivery, fence
from tests.proof.oracle import consult
from tests.proof.test_deliberate_breaks import _whoever_it_is, on_sqlite, without_prepared_statements

EXAMPLES_VARIABLE: Final = "EDDA_ORACLE_EXAMPLES"
"""How many sequences there are; with it they are other ones each time."""

SHRINK_VARIABLE: Final = "EDDA_ORACLE_SHRINK"
"""If it is set, the sequence of a failure is made as short as possible, which takes minutes."""

IN_MEMORY: Final = "sqlite:///:memory:"
ON_SQLITE, ON_SERVERS = 530, 8
ENOUGH: Final = 60
"""So often at least each kind of operation takes effect on SQLite; the rarest did 91 to 113 times.

Another version of hypothesis draws other sequences, hence the difference.
"""

KINDS: Final = frozenset(
    (
        "a message instead of parking",
        "cancel of what nobody runs",
        "cancel refused behind a pivot",
        "cancel told to a run",
        "claim of one instance",
        "claim of what is due",
        "end: cancelled",
        "end: completed",
        "end: failed",
        "event accepted",
        "event accepted by another service",
        "event that comes again",
        "instance",
        "leadership claimed",
        "leadership refused",
        "leadership resigned",
        "lease taken from a worker that died",
        "outbox: add",
        "outbox: go on with the next one",
        "outbox: lease",
        "outbox: mark expired",
        "outbox: mark failed",
        "outbox: mark invalid",
        "outbox: mark pending",
        "outbox: mark published",
        "outbox: mark under a stale token",
        "outbox: requeue",
        "outbox: retention",
        "outbox: the broker is back",
        "park",
        "park although a message is there",
        "publish again under the same key",
        "publish: broadcast",
        "publish: competing",
        "publish: direct",
        "publish: targeted",
        "recur",
        "release",
        "release after a failure",
        "renewal",
        "resumed with a message",
        "retention of channels",
        "retention of events",
        "retention of instances",
        "retention of messages",
        "rollback begun",
        "rollback reopened",
        "row appended",
        "step with effects",
        "step: ActivityCompleted",
        "step: CompensationExecuted",
        "step: CompensationFailed",
        "step: CompensationRegistered",
        "step: PivotPassed",
        "subscription ended",
        "subscription refused: the other mode",
        "subscription: broadcast",
        "subscription: competing",
        "take: broadcast",
        "take: competing",
        "take: own",
        "timeout",
        "waits ended",
        "waits registered",
        "wake",
        "write of a run that is to cancel",
        "write under a stale token",
    )
)

profile = settings(
    stateful_step_count=50,
    derandomize=EXAMPLES_VARIABLE not in os.environ,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
    phases=(Phase.generate, Phase.shrink) if SHRINK_VARIABLE in os.environ else (Phase.generate,),
)


@pytest.mark.timeout(900)
def test_the_oracle(empty_database_url: str) -> None:
    is_sqlite = empty_database_url.startswith("sqlite")
    examples = int(os.environ.get(EXAMPLES_VARIABLE, ON_SQLITE if is_sqlite else ON_SERVERS))
    done = consult(IN_MEMORY if is_sqlite else empty_database_url, settings(profile, max_examples=examples))
    print("\n".join(f"{done[kind]:7} {kind}" for kind in sorted(KINDS)))
    assert done.keys() <= KINDS
    if is_sqlite and examples >= ON_SQLITE:
        rare = {kind: done[kind] for kind in KINDS if done[kind] < ENOUGH}
        assert not rare


# -- it notices what is broken -----------------------------------------------------------------

hurried = settings(profile, max_examples=100, phases=(Phase.generate,), derandomize=True)


@on_sqlite
def test_it_notices_that_there_is_no_fence(empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fence, "conditions", _whoever_it_is)
    with without_prepared_statements(), pytest.raises(AssertionError, match="and not "):
        consult(IN_MEMORY, hurried)


@on_sqlite
def test_it_notices_that_nobody_looks_for_messages_when_parking(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "_called", lambda exchange, asleep: set())
    with pytest.raises(AssertionError, match="RunParked"):
        consult(IN_MEMORY, hurried)
