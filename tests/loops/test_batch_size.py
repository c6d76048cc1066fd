"""How many due instances one cycle takes at most."""

from __future__ import annotations

import logging
import sys

import psutil
import pytest

import edda.clock
from edda.loops import batch_size as module
from edda.loops.batch_size import batch_size


@pytest.mark.parametrize(("setting", "size"), [(1, 1), (37, 37), (500, 500), ("auto", 100)])
def test_a_number_is_the_size_and_auto_leaves_it_to_what_is_ready_up_to_100(
    setting: int | str, size: int
) -> None:
    assert batch_size(setting)() == size


@pytest.mark.parametrize(
    ("percent", "size"),
    [(0, 100), (29.9, 100), (30, 50), (49.9, 50), (50, 20), (69.9, 20), (70, 10), (100, 10)],
)
def test_the_busier_the_machine_the_smaller_the_batch(
    monkeypatch: pytest.MonkeyPatch, percent: float, size: int
) -> None:
    monkeypatch.setattr(psutil, "cpu_percent", lambda _=None: percent)
    now = _frozen(monkeypatch)
    by_load = batch_size("auto:cpu")
    now[0] += 1
    assert by_load() == size


def test_the_load_is_measured_over_a_second_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[float] = []

    def measure(_: object = None) -> float:
        measured.append(now[0])
        return 0

    monkeypatch.setattr(psutil, "cpu_percent", measure)
    now = _frozen(monkeypatch)
    by_load = batch_size("auto:cpu")
    sizes = []
    for _ in range(21):
        sizes.append(by_load())
        now[0] += 0.1
    # Few until something is known; the first measurement only begins the time to be measured.
    assert sizes[:10] == [10] * 10
    assert set(sizes[11:]) == {100}
    assert len(measured) <= 3


def test_without_psutil_there_is_one_warning_and_a_small_batch(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    with caplog.at_level(logging.WARNING):
        by_load = batch_size("auto:cpu")
        assert [by_load() for _ in range(5)] == [10] * 5
    (record,) = caplog.records
    assert record.getMessage() == (
        "max_workflows_per_batch='auto:cpu' needs psutil, which is not installed (the extra 'cpu'); "
        "at most 10 instances are picked up at once"
    )


def _frozen(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A monotonic clock that stands still unless it is moved."""
    now = [edda.clock.monotonic()]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    return now
