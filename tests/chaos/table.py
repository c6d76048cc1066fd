"""The report of a run as a table for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from tests.chaos.storm import Report

SHOWN = 20


def lines_of(report: Report, title: str) -> Iterator[str]:
    """Faults with their numbers and recoveries, then what was found."""
    plan = report.plan
    yield f"{title}: {plan.orders} orders, {report.seconds:.0f} s of faults (seed {plan.seed})"
    yield ""
    yield f"{'fault':<52}{'times':>6}   recovery in s: median    longest"
    for fault in report.faults:
        yield f"{fault.name:<52}{fault.injected:>6}   {_recoveries(fault.recoveries)}"
    yield ""
    yield "Recovery of a worker's fault: until another one holds, or has ended, all that it held."
    yield "Of the other faults: from their end until the next step is recorded."
    yield ""
    ended = ", ".join(f"{count} {status}" for status, count in sorted(report.statuses.items()))
    yield f"ended {report.ending:.1f} s after the last fault: {ended}; {report.commits} COMMITs"
    yield f"broker: {report.events} posts, {report.repeated_events} of them repeated"
    yield f"found: {len(report.findings) or 'nothing'}"
    yield from (f"  {finding}" for finding in report.findings[:SHOWN])


def _recoveries(seconds: Sequence[float]) -> str:
    if not seconds:
        return f"{'-':>21}{'-':>11}"
    return f"{median(seconds):>21.2f}{max(seconds):>11.2f}"
