"""What a body saw in a transaction block, a replay shows it again, and does nothing twice."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from edda import WorkflowContext, activity, publish, receive, sleep, subscribe, workflow
from edda.app import EddaApp
from edda.exceptions import NonDeterminismError, StorageError, TransactionLostError
from tests.support.apps import always_replay, engine_of, instance, reached, result_of
from tests.support.branching import calls, forget, gate, gated, note

entered: list[list[str]] = []
"""What each run of a body saw, in its order."""


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    forget()
    entered.clear()


class _UndoneError(Exception):
    """Ends a block."""


@pytest.mark.parametrize("commits", [True, False])
async def test_a_block_beside_another_branch_is_seen_in_the_same_order(app: EddaApp, commits: bool) -> None:
    always_replay(app)

    @workflow
    async def beside(ctx: WorkflowContext) -> None:
        log: list[str] = []
        entered.append(log)
        met = asyncio.Event()

        async def block() -> None:
            try:
                async with ctx.transaction():
                    log.append(await note(ctx, "first in the block"))
                    gate("other").set()
                    await met.wait()
                    log.append(await note(ctx, "second in the block"))
                    if not commits:
                        raise _UndoneError  # noqa: TRY301 - the block has to see it
            except _UndoneError:
                log.append("undone")
            log.append(await note(ctx, "after the block"))

        async def other() -> None:
            log.append(await gated(ctx, "other"))
            met.set()
            log.append(await note(ctx, "after the other"))

        await asyncio.gather(block(), other())
        await sleep(ctx, 0.01)

    await result_of(app, await beside.start())
    live, replayed = entered
    assert live == replayed
    assert live[:2] == ["first in the block", "other"]
    assert len(calls) == 5


async def test_a_block_that_was_lost_shifts_no_ids_of_another_branch(app: EddaApp) -> None:
    @workflow
    async def loses(ctx: WorkflowContext) -> list[str]:
        entered.append([ctx.instance_id])
        is_first = len(entered) == 1
        recorded = asyncio.Event()

        async def block() -> str:
            async with ctx.transaction():
                await note(ctx, "in the block")
                gate("other").set()
                if is_first:
                    await recorded.wait()
                    raise TransactionLostError("as when the connection ends")
            return await note(ctx, "after the block")

        async def other() -> str:
            await gated(ctx, "other")
            seen = await note(ctx, "after the other")
            recorded.set()
            return seen

        return list(await asyncio.gather(block(), other()))

    with pytest.raises(StorageError):
        await loses.start()

    instance_id = entered[0][0]
    assert await result_of(app, instance_id) == ["after the block", "after the other"]
    assert calls.count("after the other") == 1


async def test_what_was_seen_in_a_savepoint_that_was_undone_is_not_done_again(app: EddaApp) -> None:
    always_replay(app)

    @workflow
    async def partly(ctx: WorkflowContext) -> Any:
        await subscribe(ctx, "news")
        async with ctx.transaction():
            try:
                async with ctx.transaction():
                    seen = await note(ctx, "undone")
                    await publish(ctx, "news", "undone")
                    raise _UndoneError  # noqa: TRY301 - the block has to see it
            except _UndoneError:
                await publish(ctx, "news", seen + " was seen")
        await sleep(ctx, 0.01)
        first = await receive(ctx, "news", timeout_seconds=0)
        with pytest.raises(TimeoutError):
            await receive(ctx, "news", timeout_seconds=0)
        return first.data

    assert await result_of(app, await partly.start()) == "undone was seen"
    assert calls == ["undone"]


async def test_a_step_that_is_new_in_a_block_that_has_ended_stops_the_run(app: EddaApp) -> None:
    always_replay(app)
    deployed = ["old"]

    @activity
    async def added(ctx: WorkflowContext) -> None:
        calls.append("added")

    @workflow
    async def changing(ctx: WorkflowContext) -> None:
        async with ctx.transaction():
            await note(ctx, "a")
            if deployed == ["new"]:
                await added(ctx)
        await sleep(ctx, 3600)

    instance_id = await changing.start()
    deployed[:] = ["new"]
    with pytest.raises(NonDeterminismError, match="'transaction:1/added:1'"):
        await engine_of(app).resume_by_name(instance_id, "changing")

    assert calls == ["a"]
    assert (await instance(app, instance_id))["status"] == "running"


async def test_a_wrong_call_in_a_block_raises_the_same_on_replay(app: EddaApp) -> None:
    always_replay(app)

    @workflow
    async def wrong(ctx: WorkflowContext) -> str:
        async with ctx.transaction():
            try:
                await note(ctx, "a", "b")  # type: ignore[call-overload]
            except TypeError as error:
                entered.append([str(error)])
        await sleep(ctx, 0.01)
        return "done"

    await reached(app, await wrong.start())
    assert len(entered) == 2
    assert entered[0] == entered[1]
