"""Histories are taken out of a database, and read from files."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from edda import EddaApp, WorkflowContext, activity, workflow
from edda.exceptions import StorageError
from edda.testing import export_histories
from edda.testing.histories import histories_in_database, histories_in_files


@activity
async def noted(ctx: WorkflowContext, text: str) -> str:
    return text


@workflow
async def noting_day(ctx: WorkflowContext, day: Any) -> None:
    await noted(ctx, str(day))


@workflow
async def noting_again(ctx: WorkflowContext, left: int) -> None:
    await noted(ctx, str(left))
    if left:
        await ctx.recur(left=left - 1)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'histories.db'}"


async def test_histories_are_the_same_in_files_and_in_the_database(database_url: str, tmp_path: Path) -> None:
    async with EddaApp("test", database_url) as app:
        await noting_day.start(day=date(2030, 1, 1))
        await noting_again.start(left=1)
        shown = (await app.find_instances(workflow_name="noting_day"))["instances"]
    files = await export_histories(database_url, tmp_path / "out" / "deep")
    assert len(files) == 3
    stored = [each async for each in histories_in_database(database_url)]
    read = [each async for each in histories_in_files(tmp_path / "out" / "deep")]
    assert sorted(read, key=lambda each: each.instance_id) == sorted(
        stored, key=lambda each: each.instance_id
    )
    assert all(len(each.history) == 1 for each in read)  # of one that recurred, from the archive
    [day] = [each for each in read if each.instance["workflow_name"] == "noting_day"]
    assert day.instance == shown[0]
    assert day.input_types == {"/day": "date"}


async def test_some_are_chosen(sqlite_url: str, tmp_path: Path) -> None:
    async with EddaApp("test", sqlite_url) as app:

        @app.on_event("histories.noted")
        async def handle(event: Any) -> None: ...

        await app.handle_cloudevent({"type": "histories.noted", "id": "1", "source": "/test"}, wait=True)
        await noting_again.start(left=2)
    everything = await export_histories(sqlite_url, tmp_path / "all")
    recurred = await export_histories(sqlite_url, tmp_path / "some", status="recurred", limit=1)
    assert (len(everything), len(recurred)) == (3, 1)  # the handler is none of the user's workflows
    assert json.loads(recurred[0].read_text())["instance"]["status"] == "recurred"


async def test_what_holds_no_history_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"No .*json file"):
        await anext(histories_in_files(tmp_path))
    (tmp_path / "other.json").write_text("[]")
    with pytest.raises(ValueError, match=r"other.json holds no history"):
        await anext(histories_in_files(tmp_path))
    with pytest.raises(StorageError):
        await anext(histories_in_database(f"sqlite:///{tmp_path / 'empty.db'}"))
