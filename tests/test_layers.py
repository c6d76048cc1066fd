"""The layers of the package, as pyproject.toml draws them, checked by import-linter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]


def test_no_module_imports_from_a_layer_above_its_own() -> None:
    # In a process of its own, because the linter sets up logging for the whole process.
    program = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([program, "--no-cache"], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
