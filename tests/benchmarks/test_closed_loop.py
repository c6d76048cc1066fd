from __future__ import annotations

import json

import pytest

from benchmarks.contenders.closed_loop import Arguments, measure, percentile


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 50.0), (0.99, 99.0), (0.0, 1.0), (1.0, 100.0), (0.991, 100.0)]
)
def test_percentile_is_the_nearest_rank(share: float, expected: float) -> None:
    assert percentile([float(value) for value in range(1, 101)], share) == expected


def test_percentile_of_one_value_is_that_value_and_of_none_is_zero() -> None:
    assert percentile([7.0], 0.99) == 7.0
    assert percentile([], 0.5) == 0.0


async def test_every_workflow_runs_once_after_one_to_warm_up(capsys: pytest.CaptureFixture[str]) -> None:
    started = 0

    async def start() -> int:
        nonlocal started
        started += 1
        return 3

    await measure(start, Arguments("", workflows=7, steps=3, concurrency=2))
    result = json.loads(capsys.readouterr().out)
    assert started == 8
    assert (result["size"], result["completed"], result["errors"]) == (7, 7, 0)
    assert result["per_second"] == pytest.approx(21 / result["wall_seconds"])


async def test_errors_and_wrong_sums_are_counted_and_add_no_steps(capsys: pytest.CaptureFixture[str]) -> None:
    answers: list[int | None] = [3, 3, None, 4]

    async def start() -> int:
        answer = answers.pop(0)
        if answer is None:
            raise ValueError("lost\nin detail")
        return answer

    await measure(start, Arguments("", workflows=3, steps=3, concurrency=1))
    result = json.loads(capsys.readouterr().out)
    assert (result["completed"], result["errors"]) == (1, 2)
    assert result["first_error"] == "ValueError: lost"
    assert result["per_second"] == pytest.approx(3 / result["wall_seconds"])
