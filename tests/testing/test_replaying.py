"""Stored histories put to the present code."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from edda import (
    EddaApp,
    WorkflowContext,
    activity,
    gather,
    on_failure,
    race,
    register_compensation,
    sleep,
    wait_event,
    workflow,
)
from edda.exceptions import NonDeterminismError
from edda.testing import StoredHistory, compare_histories, export_histories, replay_history
from edda.testing.histories import histories_in_database
from edda.workflow import Workflow

performed: list[str] = []


@activity
async def doing(ctx: WorkflowContext, what: str) -> str:
    performed.append(what)
    return what


@activity
async def doing_else(ctx: WorkflowContext) -> None:
    performed.append("else")


async def undo(ctx: WorkflowContext) -> None: ...


@activity
@on_failure(undo)
async def doing_what_is_undone(ctx: WorkflowContext) -> None: ...


Body = Callable[..., Any]


def defined(body: Body) -> Workflow[Any, Any]:
    """The workflow ``replayed``, from now on with this body."""

    async def replayed(ctx: WorkflowContext, *, day: Any = None) -> Any:
        return await body(ctx)

    return workflow(replayed)


@workflow
async def child_of_it(ctx: WorkflowContext) -> None:
    await wait_event(ctx, "never")


async def much(ctx: WorkflowContext) -> str:
    await gather(doing(ctx, "a"), doing(ctx, "b"))
    await ctx.now()
    async with ctx.transaction():
        await doing(ctx, "c")
    await race(ctx, sleep(ctx, 0.001), wait_event(ctx, "never"))
    await child_of_it.start()
    return str(ctx.uuid4())


async def one(ctx: WorkflowContext) -> str:
    return await doing(ctx, "one")


async def one_and_else(ctx: WorkflowContext) -> None:
    await doing(ctx, "one")
    await doing_else(ctx)


async def failing(ctx: WorkflowContext) -> None:
    await doing_what_is_undone(ctx)
    await register_compensation(ctx, undo)
    raise KeyError("lost")


async def waiting(ctx: WorkflowContext) -> None:
    await doing(ctx, "one")
    await wait_event(ctx, "never")


async def recurring(ctx: WorkflowContext) -> None:
    await doing(ctx, "one")
    await ctx.recur(day=None)


async def with_statements(ctx: WorkflowContext) -> None:
    async with ctx.transaction():
        await ctx.session.execute(text("SELECT 1"))
        await doing(ctx, "one")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'recorded.db'}"


async def recorded(url: str, body: Body, **arguments: Any) -> StoredHistory:
    """What is stored of an instance that was run with this body."""
    flow = defined(body)
    async with EddaApp("test", url):
        with contextlib.suppress(KeyError):
            await flow.start(**arguments)
    performed.clear()
    [stored] = [each async for each in histories_in_database(url, workflow_name="replayed")]
    return stored


@pytest.mark.parametrize(
    "body", [much, one, failing, waiting, with_statements], ids=lambda body: body.__name__
)
async def test_what_was_recorded_matches_the_same_code(url: str, body: Body) -> None:
    stored = await recorded(url, body, day=date(2030, 1, 1))
    report = await replay_history(stored)
    assert report.checked == [stored.instance_id]
    assert performed == []


async def test_nothing_is_written(url: str, tmp_path: Path) -> None:
    stored = await recorded(url, much)
    await replay_history(url)
    [again] = [each async for each in histories_in_database(url, workflow_name="replayed")]
    assert again == stored


async def test_files_and_databases_are_read(url: str, tmp_path: Path) -> None:
    stored = await recorded(url, one)
    [file] = await export_histories(url, tmp_path / "histories")
    for source in (file, tmp_path / "histories", str(file), url):
        assert (await replay_history(source)).checked == [stored.instance_id]
    with pytest.raises(TypeError, match="limit: only histories in a database"):
        await replay_history(file, limit=1)


@pytest.mark.parametrize(
    ("before", "after", "sides"),
    [
        (one_and_else, one, r"returned, but .*1 further recorded step\(s\), first 'doing_else:1'"),
        (one, one_and_else, "has returned according to the history, but the code attempts doing_else:1"),
        (waiting, one_and_else, None),
        (waiting, failing, r"attempts doing_what_is_undone:1, but .* first 'doing:1'"),
        (failing, one, r"attempts doing:1, but .* first 'doing_what_is_undone:1'"),
        (one, recurring, "has returned according to the history, but the code recurs"),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
async def test_changed_code_is_told_with_both_sides(
    url: str, before: Body, after: Body, sides: str | None
) -> None:
    stored = await recorded(url, before)
    defined(after)
    if sides is None:  # what a live instance does next is its own affair
        await replay_history(stored)
    else:
        with pytest.raises(NonDeterminismError, match=sides) as caught:
            await replay_history(stored)
        assert list(caught.value.report.problems) == [stored.instance_id]  # type: ignore[attr-defined]
        assert list((await compare_histories(stored)).problems) == [stored.instance_id]
    assert performed == []


async def test_a_step_of_another_kind_is_told(url: str) -> None:
    async def first(ctx: WorkflowContext) -> None:
        await doing(ctx, "one", activity_id="step")

    async def second(ctx: WorkflowContext) -> None:
        await doing_else(ctx, activity_id="step")

    stored = await recorded(url, first)
    defined(second)
    with pytest.raises(
        NonDeterminismError, match=r"recorded as ActivityCompleted .*attempts activity 'doing_else'"
    ):
        await replay_history(stored)


async def test_an_unknown_workflow_and_an_input_that_does_not_fit_are_told(url: str) -> None:
    stored = await recorded(url, one)
    unknown = StoredHistory({**stored.instance, "workflow_name": "gone"}, stored.history)
    with pytest.raises(NonDeterminismError, match="'gone' is in the history, but this process does not know"):
        await replay_history(unknown)

    @workflow
    async def replayed(ctx: WorkflowContext, day: date) -> None: ...

    with pytest.raises(NonDeterminismError, match="does not take the recorded input"):
        await replay_history(StoredHistory({**stored.instance, "input_data": {}}, stored.history))


async def test_a_body_that_needs_the_database_is_not_compared_to_its_end(url: str) -> None:
    report = await replay_history(await recorded(url, with_statements))
    [reason] = report.not_checked.values()
    assert "needs the database" in reason
