from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import environments
from benchmarks.cells import Contender
from benchmarks.environments import NotInstalledError, environment, last_error


def test_the_reason_of_pip_is_its_last_error() -> None:
    complaints = "WARNING: slow\nERROR: No matching distribution found for dbos\n\nhint: try again\n"
    assert last_error(complaints) == "No matching distribution found for dbos"
    assert last_error("something broke\n") == "something broke"
    assert last_error("") == "no reason given"


async def test_our_own_contenders_run_in_this_interpreter() -> None:
    own = await environment(Contender.FLOOR, install=False)
    assert own.python == Path(sys.executable)
    assert "sqlalchemy" in own.versions


async def test_a_peer_is_not_installed_when_that_is_switched_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments, "ENVIRONMENTS", tmp_path)
    with pytest.raises(NotInstalledError, match="switched off"):
        await environment(Contender.DBOS, install=False)


async def test_a_failed_installation_gives_its_reason_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments, "ENVIRONMENTS", tmp_path)
    unknown = ("--no-index", "--find-links", str(tmp_path), "edda-no-such-distribution")
    monkeypatch.setitem(environments.REQUIREMENTS, Contender.DBOS, unknown)
    with pytest.raises(NotInstalledError, match="edda-no-such-distribution"):
        await environment(Contender.DBOS, install=True)
    assert list(tmp_path.iterdir()) == []
