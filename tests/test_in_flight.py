"""Counting the durable operations that are under way."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from edda.exceptions import LockLostError, WorkflowSignal
from edda.in_flight import InFlight
from edda.run import Run
from edda.storage.records import Lease

NOTHING: Any = SimpleNamespace(storage=None)


def parked_run() -> Run:
    run = Run(Lease("i", "me", 1, 30), workflow_name="w", services=NOTHING)
    run.give_up_lease()
    return run


async def test_a_parked_run_regains_its_lease_before_the_next_operation() -> None:
    run = parked_run()

    async def regain() -> None:
        run.take_lease(Lease("i", "me", 2, 30))

    run.regain_lease = regain
    async with InFlight(run):
        assert (run.leased, run.lease.token, run.in_flight) == (True, 2, 1)
    assert run.in_flight == 0


async def test_an_operation_of_a_run_that_loses_its_lease_first_does_not_begin() -> None:
    run = parked_run()

    async def lose() -> None:
        run.stop(LockLostError("i"))

    run.regain_lease = lose
    with pytest.raises(WorkflowSignal):
        async with InFlight(run):
            raise AssertionError("it began")
    assert run.in_flight == 0


async def test_the_end_of_an_operation_is_told_when_the_run_has_ended_meanwhile() -> None:
    run = parked_run()
    run.take_lease(Lease("i", "me", 2, 30))
    async with InFlight(run):
        run.close()
        run.changed.clear()
    assert run.changed.is_set()
