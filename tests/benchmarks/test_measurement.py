from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from benchmarks.cells import Cell, Contender, Database
from benchmarks.measurement import Failure, Measurement, measure, parse, url_for
from benchmarks.steps import ALONE

FIGURES = Measurement(4, 4, 40.0, 2.0, 4.0, 1.0, 0.5, 10.0, 0, None)


@pytest.mark.parametrize(
    ("contender", "expected"),
    [
        (Contender.OURS, "postgresql://me:pw@h:1/d"),
        (Contender.DBOS, "postgresql://me:pw@h:1/d"),
        (Contender.FLOOR, "postgresql+asyncpg://me:pw@h:1/d"),
        (Contender.EDDA_FRAMEWORK, "postgresql+asyncpg://me:pw@h:1/d"),
    ],
)
def test_each_contender_gets_the_driver_it_wants(contender: Contender, expected: str) -> None:
    cell = Cell(Database.POSTGRESQL, ALONE, contender)
    assert url_for(cell, "postgresql://me:pw@h:1/d") == expected


def test_figures_are_read_from_the_last_line() -> None:
    assert parse(0, f"chatter\n{json.dumps(asdict(FIGURES))}\n", "a warning") == FIGURES


def test_a_process_that_failed_gives_its_last_complaint() -> None:
    assert parse(1, "{}", "Traceback\nValueError: no such thing\n") == Failure("ValueError: no such thing")


def test_a_silent_process_is_a_failure_as_well() -> None:
    assert parse(0, "", "") == Failure("ended with code 0 and without figures")


def test_speed_is_a_rate_and_without_one_the_inverse_of_the_latency() -> None:
    assert FIGURES.speed == 40.0
    assert replace(FIGURES, per_second=None).speed == 500.0
    assert replace(FIGURES, per_second=None, p50_ms=0.0).speed == 0.0


async def test_an_interpreter_that_refuses_is_a_failure_with_its_reason(tmp_path: Path) -> None:
    refusing = tmp_path / "python"
    refusing.write_text("#!/bin/sh\necho 'not today' >&2\nexit 3\n")
    refusing.chmod(0o755)
    cell = Cell(Database.SQLITE, ALONE, Contender.DBOS)
    result = await measure(cell, "dbos_transact.py", python=refusing, url="sqlite:///x", size=1)
    assert result == Failure("not today")
