"""Starting instances, and what the callers get."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from edda import WorkflowContext, activity, sleep, workflow
from edda.app import EddaApp
from tests.support.apps import always_replay, engine_of, instance, reached, result_of
from tests.support.eventually import until
from tests.support.statements import counted

calls: list[Any] = []


class Order(BaseModel):
    item: str
    count: int = 1


@pytest.fixture(autouse=True)
def _forget_calls() -> None:
    calls.clear()


async def test_start_returns_the_id_and_the_instance_shows_input_and_result(app: EddaApp) -> None:
    @workflow
    async def greet(ctx: WorkflowContext, name: str) -> str:
        return f"hello {name}"

    instance_id = await greet.start(name="Ada", unused=[1, None])

    row = await instance(app, instance_id)
    assert re.fullmatch(r"greet-[0-9a-f]{32}", instance_id)
    assert (row["status"], row["output_data"]) == ("completed", {"result": "hello Ada"})
    assert row["input_data"] == {"name": "Ada", "unused": [1, None]}
    assert (row["workflow_name"], row["owner_service"], row["locked_by"]) == ("greet", "tests", None)
    assert await app.storage.get_history(instance_id) == []


async def test_start_raises_the_very_error_and_names_the_instance(app: EddaApp) -> None:
    error = ValueError("no")

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        raise error

    with pytest.raises(ValueError) as caught:
        await flow.start()

    assert caught.value is error
    instance_id = error.instance_id  # type: ignore[attr-defined]
    assert error.__notes__ == [f"Edda workflow instance: {instance_id}"]
    assert (await instance(app, instance_id))["status"] == "failed"


@pytest.mark.parametrize(
    ("given", "error"),
    [({}, TypeError), ({"order": {"count": 1}}, ValidationError), ({"order": open}, TypeError)],
)
async def test_arguments_that_do_not_fit_are_refused_and_nothing_is_stored(
    app: EddaApp, given: dict[str, Any], error: type[Exception]
) -> None:
    @workflow
    async def buy(ctx: WorkflowContext, order: Order, note: str = "") -> None:
        calls.append("buy")

    with counted() as statements, pytest.raises(error):
        await buy.start(**given)

    assert not statements.containing("INSERT")
    assert calls == []


async def test_arguments_arrive_as_their_annotated_types(app: EddaApp) -> None:
    @workflow
    async def buy(ctx: WorkflowContext, order: Order, *, express: bool = False) -> None:
        calls.append((order, express))
        await sleep(ctx, 0.01)

    always_replay(app)
    await reached(app, await buy.start(order=Order(item="book")))

    assert calls == [(Order(item="book"), False)] * 2


async def test_a_caller_that_is_cancelled_leaves_the_workflow_running(app: EddaApp) -> None:
    go_on = asyncio.Event()

    @activity
    async def wait(ctx: WorkflowContext) -> None:
        calls.append("wait")
        await go_on.wait()

    @workflow
    async def flow(ctx: WorkflowContext) -> str:
        calls.append(ctx.instance_id)
        await wait(ctx)
        return "done"

    caller = asyncio.create_task(flow.start())
    await until(lambda: len(calls) == 2)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    go_on.set()

    assert await result_of(app, calls[0]) == "done"
    assert len(calls) == 2
    await until(lambda: not engine_of(app)._tasks)


async def test_a_new_instance_is_leased_to_its_starter(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        calls.append(await instance(app, ctx.instance_id))

    await flow.start(lock_timeout_seconds=120)

    (row,) = calls
    assert (row["status"], row["locked_by"], row["lock_timeout_seconds"]) == ("running", app.worker_id, 120)
