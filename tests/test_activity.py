"""The decorator, and how the function is called."""

from __future__ import annotations

import asyncio
import inspect
import threading
from contextvars import ContextVar

import pytest

from edda import RetryPolicy, WorkflowContext, activity, workflow
from edda.activity import Activity
from edda.app import EddaApp
from edda.exceptions import EddaError
from tests.support.apps import result_of

request_id: ContextVar[str] = ContextVar("request_id", default="none")


def test_an_activity_keeps_name_and_docstring_of_its_function() -> None:
    @activity
    async def charge(ctx: WorkflowContext) -> None:
        """Take the money."""

    assert isinstance(charge, Activity)
    assert (charge.name, charge.__doc__) == ("charge", "Take the money.")
    assert inspect.unwrap(charge) is charge.func


def test_an_activity_knows_whether_it_is_async_and_its_policy() -> None:
    policy = RetryPolicy(max_attempts=1)

    @activity(retry_policy=policy)
    def charge(ctx: WorkflowContext) -> None: ...

    @activity()
    async def refund(ctx: WorkflowContext) -> None: ...

    assert (charge.is_async, charge.retry_policy) == (False, policy)
    assert (refund.is_async, refund.retry_policy) == (True, None)


@pytest.mark.parametrize("thing", [int, 5, "text", object()])
def test_only_functions_can_be_activities(thing: object) -> None:
    with pytest.raises(TypeError, match="decorates functions"):
        activity(thing)  # type: ignore[call-overload]


def test_outside_a_run_an_activity_says_that_it_needs_one() -> None:
    @activity
    async def charge(ctx: WorkflowContext) -> None: ...

    ctx = WorkflowContext("i", "w", None, "worker")  # type: ignore[arg-type]
    with pytest.raises(EddaError, match="belongs to no run"):
        _ = charge(ctx)


async def test_a_sync_activity_takes_positional_and_keyword_arguments(app: EddaApp) -> None:
    @activity
    def join(ctx: WorkflowContext, a: str, b: str = "b", *, c: str = "c") -> str:
        return a + b + c

    @workflow
    async def flow(ctx: WorkflowContext) -> list[str]:
        return [await join(ctx, "x"), await join(ctx, "x", b="y", c="z")]

    assert await result_of(app, await flow.start()) == ["xbc", "xyz"]


async def test_a_sync_activity_does_not_block_the_event_loop(app: EddaApp) -> None:
    released = threading.Event()

    @activity
    def wait(ctx: WorkflowContext) -> bool:
        return released.wait(timeout=10)

    @activity
    async def release(ctx: WorkflowContext) -> None:
        released.set()

    @workflow
    async def flow(ctx: WorkflowContext) -> bool:
        in_time = asyncio.create_task(wait(ctx))
        await release(ctx)
        return await in_time

    assert await result_of(app, await flow.start()) is True


async def test_a_sync_activity_sees_the_context_variables_of_the_caller(app: EddaApp) -> None:
    @activity
    def read(ctx: WorkflowContext) -> str:
        return request_id.get()

    @workflow
    async def flow(ctx: WorkflowContext) -> str:
        return await read(ctx)

    request_id.set("r-1")
    assert await result_of(app, await flow.start()) == "r-1"


async def test_a_call_with_wrong_arguments_is_told_at_once_and_not_recorded(app: EddaApp) -> None:
    ran = []

    @activity
    async def take(ctx: WorkflowContext, item: str) -> str:
        ran.append(item)
        return item

    @workflow
    async def flow(ctx: WorkflowContext) -> str:
        try:
            await take(ctx, "tea", sugar=2)  # type: ignore[call-overload]
        except TypeError as error:
            return str(error)
        return "taken"

    instance_id = await flow.start()

    assert "sugar" in await result_of(app, instance_id)
    assert (ran, await app.storage.get_history(instance_id)) == ([], [])
