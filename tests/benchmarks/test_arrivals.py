from __future__ import annotations

import asyncio
import time

from benchmarks.contenders.arrivals import Arrivals
from tests.support.eventually import PATIENCE


async def test_a_latency_is_counted_from_the_call_of_the_sender() -> None:
    arrivals = Arrivals()
    began = time.monotonic()
    arrivals.arrived("a", began - 5)
    assert 5 <= arrivals.latencies["a"] <= 5 + time.monotonic() - began
    assert len(arrivals.moments) == 1


async def test_a_line_that_a_replay_runs_again_counts_once() -> None:
    arrivals = Arrivals()
    arrivals.arrived("a", time.monotonic())
    first = arrivals.latencies["a"]
    arrivals.arrived("a", time.monotonic() - 5)
    assert arrivals.latencies["a"] == first
    assert len(arrivals.moments) == 1


async def test_expectations_are_met_when_all_have_arrived_also_before() -> None:
    arrivals = Arrivals()
    arrivals.arrived("a", time.monotonic())
    both = arrivals.expect(["a", "b"])
    assert not both.done()
    arrivals.arrived("b", time.monotonic())
    await asyncio.wait_for(both, PATIENCE)


async def test_an_early_timer_is_an_error_and_a_late_one_a_latency() -> None:
    arrivals = Arrivals()
    arrivals.fired("late", time.time() - 2)
    assert (arrivals.errors, arrivals.latencies["late"] >= 2) == ([], True)
    arrivals.fired("early", time.time() + 3600)
    (error,) = arrivals.errors
    assert error.startswith("a timer fired 3")


async def test_after_warming_up_everything_begins_anew() -> None:
    arrivals = Arrivals()
    arrivals.arrived("a", time.monotonic())
    arrivals.forget()
    assert (arrivals.latencies, arrivals.moments) == ({}, [])
