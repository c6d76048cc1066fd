"""A user's code is checked against the types of the library; `make check` asks mypy the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.workers import PROJECT

PYRIGHT = Path(sys.executable).with_name("basedpyright")
TYPING = PROJECT / "tests" / "typing"


def test_pyright_finds_the_mistakes_of_a_user_and_nothing_else() -> None:
    command = f"{PYRIGHT} --pythonpath {sys.executable} --project {TYPING}/pyrightconfig.json".split()
    command.append(str(TYPING / "user_code.py"))
    outcome = subprocess.run(command, capture_output=True, text=True, check=False, cwd=PROJECT)
    assert outcome.stdout.strip().endswith("0 errors, 0 warnings, 0 notes"), outcome.stdout


def test_the_package_says_that_it_has_types() -> None:
    assert (PROJECT / "edda" / "py.typed").exists()
