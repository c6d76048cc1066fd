from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks.measurement import HERE, SCRIPTS, Failure, Measurement, measure, parse, url_for
from benchmarks.plan import ALONE, Cell, Contender, Database

FIGURES = Measurement(4, 4, 40.0, 1.0, 2.0, 1.0, 0.5, 0, None)


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


def test_every_contender_has_a_script() -> None:
    assert set(SCRIPTS) == set(Contender)
    for script in SCRIPTS.values():
        assert (HERE / "contenders" / script).is_file()


async def test_an_interpreter_that_refuses_is_a_failure_with_its_reason(tmp_path: Path) -> None:
    refusing = tmp_path / "python"
    refusing.write_text("#!/bin/sh\necho 'not today' >&2\nexit 3\n")
    refusing.chmod(0o755)
    cell = Cell(Database.SQLITE, ALONE, Contender.DBOS)
    result = await measure(cell, python=refusing, url="sqlite:///x", workflows=1)
    assert result == Failure("not today")
