"""Each example does what its docstring tells: the commands are typed, the lines appear."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.stories import TOLD, Story
from tests.support.workers import Workers


async def played(example: str, workers: Workers, directory: Path) -> Story:
    """The story of an example, told to its end by a server that then ends in peace."""
    story = Story(example, workers, directory)
    server = await story.play()
    await server.terminate()
    assert "Traceback" not in server.output
    assert "WARNING" not in server.output
    return story


@pytest.mark.parametrize("example", TOLD)
async def test_it_goes_as_told(example: str, workers: Workers, tmp_path: Path) -> None:
    story = await played(example, workers, tmp_path)
    assert {answer.status for answer in story.answers} == {202}


async def test_data_that_do_not_fit_a_model_are_refused(workers: Workers, tmp_path: Path) -> None:
    story = await played("models_everywhere", workers, tmp_path)
    assert [answer.status for answer in story.answers] == [202, 202, 400]
    assert json.loads(story.answers[-1].body)["error_type"] == "ValidationError"


async def test_a_route_of_fastapi_starts_orders_and_another_one_lists_them(
    workers: Workers, tmp_path: Path
) -> None:
    story = await played("fastapi_mount", workers, tmp_path)
    assert [answer.status for answer in story.answers] == [202, 202, 200]
    assert sorted(one["input_data"]["lamps"] for one in json.loads(story.answers[-1].body)) == [2, 3]


async def test_flask_shows_what_a_workflow_beside_it_has_stored(workers: Workers, tmp_path: Path) -> None:
    story = await played("flask_wsgi", workers, tmp_path)
    assert [answer.status for answer in story.answers] == [202, 200]
    assert json.loads(story.answers[-1].body) == ["Ada"]
