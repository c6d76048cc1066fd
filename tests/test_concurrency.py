"""Several durable operations at once, all of them, live and replayed."""

from __future__ import annotations

import asyncio
import gc
import warnings
from typing import Any

import pytest

from edda import RetryExhaustedError, WorkflowContext, gather, race, sleep, workflow
from edda.app import EddaApp
from tests.support.apps import result_of, steps_of
from tests.support.branching import broken, ended, gate, gated, ids
from tests.support.eventually import eventually, pause
from tests.support.noting import calls, note


async def test_gather_returns_results_in_the_order_given(any_app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> list[Any]:
        first = await gather(sleep(ctx, 0.05), note(ctx, "a"), note(ctx, "b"))
        await sleep(ctx, 0.01)
        return [*first, await gather()]

    assert await result_of(any_app, await flow.start()) == [None, "a", "b", []]
    assert calls == ["a", "b"]


async def test_gather_keeps_at_most_so_many_under_way_and_starts_them_in_order(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> list[str]:
        return await gather(*(gated(ctx, name) for name in "abcd"), limit=2)

    running = asyncio.create_task(flow.start())
    await eventually(lambda: _assert(calls == ["a", "b"]))
    gate("b").set()
    await eventually(lambda: _assert(calls == ["a", "b", "c"]))
    for name in "acd":
        gate(name).set()

    instance_id = await running
    assert await result_of(app, instance_id) == ["a", "b", "c", "d"]
    assert sorted(ids(await steps_of(app, instance_id))) == [f"gated:{number}" for number in (1, 2, 3, 4)]


async def test_gather_raises_the_first_error_and_starts_nothing_more(any_app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> str:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                await gather(note(ctx, "a"), broken(ctx, "x"), note(ctx, "b"), limit=1)
            except RetryExhaustedError as error:
                caught = str(error.__cause__)
            gc.collect()
        await sleep(ctx, 0.01)
        return caught

    instance_id = await flow.start()

    assert await result_of(any_app, instance_id) == "x"
    assert calls == ["a", "x"]
    assert ids(await steps_of(any_app, instance_id)) == ["note:1", "broken:1", "sleep:1"]


async def test_gather_can_return_errors_in_place_of_results(any_app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> list[str]:
        results = await gather(
            note(ctx, "a"), broken(ctx, "x"), note(ctx, "b"), limit=1, return_exceptions=True
        )
        await sleep(ctx, 0.01)
        return [type(result).__name__ for result in results]

    assert await result_of(any_app, await flow.start()) == ["str", "RetryExhaustedError", "str"]


async def test_a_cancelled_gather_cancels_what_it_has_started(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> str:
        both = asyncio.create_task(gather(gated(ctx, "a"), gated(ctx, "b"), gated(ctx, "c"), limit=2))
        await eventually(lambda: _assert(calls == ["a", "b"]))
        both.cancel()
        await asyncio.wait({both})
        return f"cancelled: {both.cancelled()}"

    instance_id = await flow.start()

    assert await result_of(app, instance_id) == "cancelled: True"
    assert sorted(ended) == ["a", "b"]
    assert calls == ["a", "b"]
    assert await steps_of(app, instance_id) == []


@pytest.mark.parametrize("limit", [0, -1])
async def test_a_limit_below_one_is_refused(limit: int) -> None:
    with pytest.raises(ValueError, match="limit must be at least 1"):
        _ = gather(limit=limit)


async def _has_steps(app: EddaApp, instance_id: str, count: int) -> None:
    assert len(await steps_of(app, instance_id)) >= count


def _assert(condition: bool) -> None:
    assert condition


async def test_the_end_of_one_branch_costs_the_same_however_many_are_under_way() -> None:
    class Counting(asyncio.Future[int]):
        callbacks = 0

        def add_done_callback(self, *args: Any, **kwargs: Any) -> None:
            self.callbacks += 1
            super().add_done_callback(*args, **kwargs)

    futures = [Counting() for _ in range(50)]
    together = asyncio.create_task(gather(*futures))
    for number, future in enumerate(futures):
        await pause(0)
        future.set_result(number)

    assert await together == list(range(50))
    assert max(future.callbacks for future in futures) <= 3


class EmptyError(Exception):
    """An error that is false, as any that counts its items and has none."""

    def __len__(self) -> int:
        return 0


async def test_an_error_that_is_false_is_returned_as_an_error() -> None:
    async def fails() -> None:
        raise EmptyError

    (error,) = await gather(fails(), return_exceptions=True)
    assert isinstance(error, EmptyError)


@pytest.mark.parametrize("ending", ["closed", "cancelled", "left over"])
async def test_what_ends_before_it_began_leaves_no_branch_unawaited(app: EddaApp, ending: str) -> None:
    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        nested = gather(gather(note(ctx, "a")), race(ctx, note(ctx, "b"), gather(note(ctx, "c"))))
        match ending:
            case "closed":
                nested.close()
            case "cancelled":
                task = asyncio.create_task(nested)
                task.cancel()
                await asyncio.wait({task})
            case _:
                with pytest.raises(RetryExhaustedError):
                    await gather(broken(ctx, "x"), nested, limit=1)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        await flow.start()
        gc.collect()
    assert [str(warning.message) for warning in caught] == []
    assert calls in ([], ["x"])
