"""The layers of the package, as pyproject.toml draws them, checked by import-linter."""

from __future__ import annotations

from pathlib import Path

import pytest
from importlinter import cli

PROJECT = Path(__file__).resolve().parents[1]


def test_no_module_imports_from_a_layer_above_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(PROJECT)
    exit_code = cli.lint_imports(config_filename="pyproject.toml", no_cache=True)
    assert exit_code == cli.EXIT_STATUS_SUCCESS, capsys.readouterr().out
