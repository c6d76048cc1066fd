# mypy: disable-error-code="import-not-found"
# (The module is found in the folder of the contenders: see conftest.py.)

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from starting import measure

PROGRAM = """
import sys
sys.path.insert(0, {folder!r})
import counted
print(0.5)
"""


def test_bytecode_is_kept_for_all_starts_whatever_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "counted.py").write_text("value = 1\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setattr(sys, "argv", ["starting", "sqlite://", "2", "import"])
    measure({"import": PROGRAM.format(folder=str(tmp_path))})
    assert json.loads(capsys.readouterr().out)["p50_ms"] == 500.0
    assert len([*(tmp_path / "bytecode").rglob("counted.*.pyc")]) == 1
    assert not (tmp_path / "__pycache__").exists()
