from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import soak


def test_the_soak_says_what_arrived(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--events", "60", "--keys", "6", "--relayers", "1", "--kills", "1"]
    soak.main([*options, "--only", "sqlite", "--directory", str(tmp_path)])
    assert capsys.readouterr().out.startswith(
        "sqlite: 60 events of 6 keys through 1 relayers, 1 killed: all arrived in order, "
    )


def test_without_options_there_are_a_hundred_thousand_events() -> None:
    assert (soak.parse_options([]).events, soak.parse_options([]).only) == (100_000, None)
