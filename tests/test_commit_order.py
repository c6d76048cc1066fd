"""Who may commit beside whom, and whose outcome the body sees first."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from edda import WorkflowContext, activity, workflow
from edda.app import EddaApp
from edda.commit_order import CommitOrder
from edda.storage.transactions import DatabaseTransaction
from edda.storage.writes import Write
from tests.support.apps import result_of, steps_of
from tests.support.branching import ended, gate, gated, ids
from tests.support.eventually import PATIENCE, eventually


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_many_share_the_way() -> None:
    order = CommitOrder()
    async with asyncio.timeout(PATIENCE):
        await order.share()
        await order.share()
    order.leave()
    order.leave()


async def test_one_alone_waits_for_those_under_way_and_holds_up_those_that_come() -> None:
    order, seen = CommitOrder(), list[str]()

    async def alone(name: str) -> None:
        async with order.alone():
            seen.append(name)
            await turns()
            seen.append(f"{name} ends")

    async def shared() -> None:
        await order.share()
        seen.append("shared")
        order.leave()

    await order.share()
    first = asyncio.create_task(alone("first"))
    await turns()
    rest = [asyncio.create_task(one) for one in (alone("second"), shared(), shared())]
    await turns()
    assert seen == []
    order.leave()
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(first, *rest)
    assert seen[:2] == ["first", "first ends"]
    assert sorted(seen[2:]) == ["second", "second ends", "shared", "shared"]
    assert seen.index("second ends") == seen.index("second") + 1


async def test_one_that_is_cancelled_while_it_waits_holds_nobody_up() -> None:
    order = CommitOrder()

    async def alone() -> None:
        async with order.alone():
            raise AssertionError("it was cancelled before")

    await order.share()
    waiting = asyncio.create_task(alone())
    await turns()
    waiting.cancel()
    await asyncio.wait({waiting})
    async with asyncio.timeout(PATIENCE):
        await order.share()


@pytest.mark.parametrize("empty_database_url", ["sqlite"], indirect=True)
async def test_a_transaction_answered_late_enters_before_the_step_committed_after_it(
    app: EddaApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Only SQLite answers from two threads: elsewhere the step would not have been committed.
    entered: list[str] = []
    begun: list[str] = []
    commit = DatabaseTransaction.commit

    async def answer_late(self: DatabaseTransaction, writes: Sequence[Write[Any]]) -> Sequence[Any]:
        answers = await commit(self, writes)
        gate("plain").set()

        async def check() -> None:
            assert ids(await steps_of(app, begun[0])) == ["with_session:1", "gated:1"]

        # In a task of its own: this one works in the transaction.
        await asyncio.create_task(eventually(check))
        await turns()
        return answers

    monkeypatch.setattr(DatabaseTransaction, "commit", answer_late)

    @activity
    async def with_session(ctx: WorkflowContext) -> str:
        await (await ctx.session.connection()).exec_driver_sql("SELECT 1")
        return "session"

    @workflow
    async def flow(ctx: WorkflowContext) -> list[str]:
        begun.append(ctx.instance_id)

        async def enter(step: Any) -> None:
            entered.append(await step)

        await asyncio.gather(enter(with_session(ctx)), enter(gated(ctx, "plain")))
        return entered

    assert await result_of(app, await flow.start()) == ["session", "plain"]
    assert ended == ["plain"]
