"""Activities replaced by fakes."""

from __future__ import annotations

from typing import Any

import pytest

from edda import RetryPolicy, WorkflowContext, activity, workflow
from edda.activity import Activity
from edda.exceptions import RetryExhaustedError
from edda.testing import Call, WorkflowEnvironment
from edda.testing.fakes import activity_of


@activity
async def price_of(ctx: WorkflowContext, item: str, count: int = 1) -> int:
    return 10 * count


@activity(retry_policy=RetryPolicy(max_attempts=1))
def weight_of(ctx: WorkflowContext, item: str) -> int:
    return 3


@workflow
async def pricing(ctx: WorkflowContext) -> int:
    return await price_of(ctx, "chair")


@workflow
async def weighing(ctx: WorkflowContext) -> int:
    return await weight_of(ctx, "chair")


async def test_a_fake_returns_a_value_and_records_its_calls() -> None:
    async with WorkflowEnvironment() as env:
        fake = env.fake(price_of, returns=7)
        instance_id = await env.start(pricing)
        assert await env.result(instance_id) == 7
        assert fake.calls == [Call(instance_id, {"item": "chair", "count": 1})]


async def test_a_fake_is_undone_at_the_end() -> None:
    async with WorkflowEnvironment() as env:
        env.fake(price_of, returns=7)
        env.fake(price_of, returns=8)
        assert await env.result(await env.start(pricing)) == 8
    async with WorkflowEnvironment() as env:
        assert await env.result(await env.start(pricing)) == 10


async def test_a_fake_does_what_a_sync_or_async_function_does() -> None:
    async def later(ctx: WorkflowContext, item: str, count: int) -> int:
        return len(item)

    async with WorkflowEnvironment() as env:
        env.fake(price_of, does=lambda ctx, item, count: count + 1)
        assert await env.result(await env.start(pricing)) == 2
        env.fake(price_of, does=later)
        assert await env.result(await env.start(pricing)) == 5
        env.fake(weight_of, does=lambda ctx, item: len(item))
        assert await env.result(await env.start(weighing)) == 5


async def test_a_fake_without_an_outcome_records_the_calls_of_the_activity() -> None:
    async with WorkflowEnvironment() as env:
        fakes = env.fake("price_of"), env.fake("weight_of")
        assert await env.result(await env.start(pricing)) == 10
        assert await env.result(await env.start(weighing)) == 3
        assert [len(fake.calls) for fake in fakes] == [1, 1]


async def test_a_fake_raises_at_first_or_always() -> None:
    async with WorkflowEnvironment() as env:
        fake = env.fake(price_of, returns=7, raises=OSError("busy"), times=2)
        assert await env.result(await env.start(pricing)) == 7
        assert len(fake.calls) == 3
        env.fake(weight_of, raises=OSError)
        with pytest.raises(RetryExhaustedError):
            await env.result(await env.start(weighing))


async def test_what_cannot_be_a_fake_is_refused() -> None:
    async with WorkflowEnvironment() as env:
        with pytest.raises(TypeError, match="either returns or does"):
            env.fake(price_of, returns=1, does=print)
        with pytest.raises(TypeError, match="give raises as well"):
            env.fake(price_of, times=2)
        with pytest.raises(TypeError, match="only activities"):
            env.fake(print)  # type: ignore[arg-type]


def test_an_unknown_name_is_an_error_that_says_which_there_are() -> None:
    with pytest.raises(LookupError, match=r"No activity is named 'price'.* price_of"):
        activity_of("price")


def test_a_name_that_several_have_is_given_with_its_module() -> None:
    def elsewhere(ctx: WorkflowContext, item: str) -> int:
        return 1

    elsewhere.__name__, elsewhere.__qualname__, elsewhere.__module__ = "weight_of", "weight_of", "elsewhere"
    other: Activity[Any, Any] = Activity(elsewhere)
    with pytest.raises(LookupError, match=r"Several activities are named 'weight_of': .*elsewhere.weight_of"):
        activity_of("weight_of")
    assert activity_of("elsewhere.weight_of") is other
