"""``ctx.recur``: an instance is replaced by a successor with a history of its own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from edda import RetryPolicy, WorkflowContext, activity, gather, on_failure, race, sleep, workflow
from edda.app import EddaApp
from edda.exceptions import PayloadTooLargeError, RecurException
from tests.support.apps import Apps, always_replay, instance, result_of, steps_of
from tests.support.chains import chain_of, statuses
from tests.support.noting import calls, note
from tests.support.rows import check_nothing_is_held, create_tables, put, rows
from tests.support.sagas import broken, failed_id
from tests.support.statements import counted


class Order(BaseModel):
    item: str
    count: int = 1


@workflow
async def countdown(ctx: WorkflowContext, left: int, *, by: int = 1) -> str:
    await note(ctx, f"{left} left")
    if left > 0:
        await ctx.recur(left=left - by, extra=[left])
    return "done"


# -- what is left behind -----------------------------------------------------------------


async def test_a_recur_ends_the_instance_and_goes_on_as_another_one(app: EddaApp) -> None:
    first_id = await countdown.start(lock_timeout_seconds=120, left=2)

    links = await chain_of(app, first_id)
    assert calls == ["2 left", "1 left", "0 left"]
    assert [row["status"] for row in links] == ["recurred", "recurred", "completed"]
    assert {row["lock_timeout_seconds"] for row in links} == {120}
    assert [row["chain_id"] for row in links] == [None, first_id, first_id]
    shown = [await instance(app, row["instance_id"]) for row in links]
    assert [row["input_data"] for row in shown] == [
        {"left": 2},
        {"left": 1, "extra": [2]},
        {"left": 0, "extra": [1]},
    ]
    assert [row["output_data"] for row in shown] == [
        {"recur_kwargs": {"left": 1, "extra": [2]}},
        {"recur_kwargs": {"left": 0, "extra": [1]}},
        {"result": "done"},
    ]
    assert {(row["locked_by"], row["locked_at"]) for row in shown} == {(None, None)}
    assert [row["current_activity_id"] for row in shown] == ["note:1"] * 3


async def test_the_history_begins_anew_and_the_old_one_is_in_the_archive(app: EddaApp) -> None:
    first_id = await countdown.start(left=1)
    _, last = await chain_of(app, first_id)

    assert await app.storage.get_history(first_id) == []
    (archived,) = await app.storage.get_archived_history(first_id)
    (recorded,) = await app.storage.get_history(last["instance_id"])
    assert archived.keys() == recorded.keys()
    assert (archived["activity_id"], archived["instance_id"]) == ("note:1", first_id)
    data: Any = archived["event_data"]
    assert data["result"] == "1 left"
    assert await app.storage.get_archived_history(last["instance_id"]) == []


async def test_a_recur_is_one_commit_and_reads_nothing(app: EddaApp) -> None:
    @workflow
    async def loop(ctx: WorkflowContext, left: int) -> None:
        if left > 0:
            await ctx.recur(left=left - 1)

    await loop.start(left=0)

    async def cost(left: int) -> tuple[int, int]:
        with counted() as statements:
            await loop.start(left=left)
        # The search for due instances runs at its own pace beside the workflow.
        reads = sum("SELECT" in text.split()[:1] and "due_at" not in text for text in statements.texts)
        return statements.commits, reads

    (some, reads), (more, more_reads) = await cost(5), await cost(25)
    assert more - some == pytest.approx(20, abs=2)
    assert more_reads == reads


async def test_hooks_hear_of_each_beginning_and_of_the_last_end(apps: Apps) -> None:
    heard: list[Any] = []

    class Observer:
        async def on_workflow_start(self, instance_id: str, name: str, input_data: Any) -> None:
            heard.append((instance_id, input_data["left"]))

        async def on_workflow_complete(self, instance_id: str, name: str, result: Any) -> None:
            heard.append((instance_id, result))

    app = await apps.start(hooks=Observer())
    first, second = await chain_of(app, await countdown.start(left=1))

    one, two = first["instance_id"], second["instance_id"]
    assert heard == [(one, 1), (two, 0), (two, "done")]


async def test_a_recurred_instance_cannot_be_resumed(app: EddaApp) -> None:
    first_id = await countdown.start(left=1)
    with pytest.raises(ValueError) as caught:
        await countdown.resume(first_id)
    assert str(caught.value) == f"Cannot resume recurred workflow {first_id}"


# -- arguments ---------------------------------------------------------------------------


async def test_arguments_are_checked_before_anything_happens(app: EddaApp) -> None:
    @workflow
    async def buy(ctx: WorkflowContext, order: Order, note: str = "") -> list[str]:
        recur: Any = ctx.recur
        seen = []
        for arguments, given in (
            ((), {}),
            ((), {"order": {"count": 1}}),
            ((), {"order": open}),
            ((order,), {}),
            ((), {"order": order, "note": "x" * 9_000_000}),
        ):
            try:
                await recur(*arguments, **given)
            except Exception as error:  # noqa: BLE001 - as users write it
                seen.append(type(error).__name__)
        return seen

    first_id = await buy.start(order=Order(item="book"))

    wrong = [TypeError, ValidationError, TypeError, TypeError, PayloadTooLargeError]
    assert await result_of(app, first_id) == [error.__name__ for error in wrong]
    assert await statuses(app, first_id) == ["completed"]


async def test_arguments_arrive_as_their_annotated_types(app: EddaApp) -> None:
    @workflow
    async def buy(ctx: WorkflowContext, order: Order) -> None:
        calls.append(order)
        if order.count == 1:
            await ctx.recur(order=Order(item=order.item, count=2))
        await sleep(ctx, 0.01)

    always_replay(app)
    first_id = await buy.start(order=Order(item="book"))
    _, second = await chain_of(app, first_id)
    await result_of(app, second["instance_id"])

    assert calls == [Order(item="book"), *[Order(item="book", count=2)] * 2]


async def test_the_signal_raised_by_hand_recurs_too(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext, turn: int = 0) -> int:
        if turn == 0:
            raise RecurException({"turn": 1})
        if turn == 1:
            raise RecurException({"turn": object()})
        return turn

    assert str(RecurException({"turn": 1})) == "Workflow recur requested"
    with pytest.raises(TypeError, match=r"input\.turn") as caught:
        await flow.start()
    failed_id = caught.value.instance_id  # type: ignore[attr-defined]
    failed = await app.storage.load_instance(failed_id)
    assert failed is not None
    assert failed.status == "failed"
    assert await statuses(app, failed.continued_from or "") == ["recurred", "failed"]


# -- where it is called ------------------------------------------------------------------


async def test_a_recur_is_no_exception_that_a_body_could_swallow(app: EddaApp) -> None:
    @workflow
    async def careless(ctx: WorkflowContext, turn: int = 0) -> int:
        try:
            if turn < 2:
                await ctx.recur(turn=turn + 1)
        except Exception:  # noqa: BLE001 - as users write it
            calls.append("handled")
        finally:
            await note(ctx, f"finally {turn}")
        return turn

    first_id = await careless.start()

    assert await statuses(app, first_id) == ["recurred", "recurred", "completed"]
    assert calls == ["finally 0", "finally 1", "finally 2"]
    assert [row["activity_id"] for row in await app.storage.get_archived_history(first_id)] == ["note:1"]


async def test_in_an_activity_it_rolls_the_attempt_back_uncounted(app: EddaApp) -> None:
    await create_tables(app)

    @activity(retry_policy=RetryPolicy(initial_interval=0.01, max_attempts=2))
    async def store(ctx: WorkflowContext, turn: int) -> None:
        calls.append(turn)
        if calls == [0]:
            raise OSError("the first attempt leaves a row behind")
        await put(ctx, f"turn {turn}")
        await note(ctx, "inside")
        if turn == 0:
            await ctx.recur(turn=1)

    @workflow
    async def flow(ctx: WorkflowContext, turn: int = 0) -> None:
        await store(ctx, turn)

    first_id = await flow.start()

    first, second = await chain_of(app, first_id)
    assert (first["status"], second["status"]) == ("recurred", "completed")
    assert calls == [0, 0, "inside", 1, "inside"]
    assert await rows(app) == ["turn 1"]
    assert await app.storage.get_archived_history(first_id) == []
    assert await app.storage.load_waits(first_id) == []
    assert len(await steps_of(app, second["instance_id"])) == 2
    await check_nothing_is_held(app)


async def test_in_a_transaction_of_the_body_it_rolls_the_block_back(app: EddaApp) -> None:
    await create_tables(app)

    @workflow
    async def flow(ctx: WorkflowContext, turn: int = 0) -> None:
        async with ctx.transaction():
            await put(ctx, f"turn {turn}")
            await note(ctx, "inside")
            if turn == 0:
                await ctx.recur(turn=1)

    first_id = await flow.start()

    assert await statuses(app, first_id) == ["recurred", "completed"]
    assert await rows(app) == ["turn 1"]
    assert await app.storage.get_archived_history(first_id) == []
    await check_nothing_is_held(app)


async def test_steps_of_other_branches_are_recorded_before_the_instance_ends(app: EddaApp) -> None:
    go_on = asyncio.Event()

    @activity
    async def slow(ctx: WorkflowContext) -> None:
        await go_on.wait()
        calls.append("slow")

    @workflow
    async def flow(ctx: WorkflowContext, turn: int = 0) -> None:
        async def recurs() -> None:
            await note(ctx, "quick")
            asyncio.get_running_loop().call_later(0.05, go_on.set)
            await ctx.recur(turn=turn + 1)

        async def goes_on() -> None:
            await slow(ctx)
            await note(ctx, "begins no other step")

        if turn == 0:
            await gather(goes_on(), recurs())

    first_id = await flow.start()

    assert await statuses(app, first_id) == ["recurred", "completed"]
    assert calls == ["quick", "slow"]
    archived = await app.storage.get_archived_history(first_id)
    assert [row["activity_id"] for row in archived] == ["note:1", "slow:1"]


async def test_it_leaves_task_groups_and_races(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext, turn: int = 0) -> int:
        async def recurs() -> None:
            await note(ctx, f"turn {turn}")
            await ctx.recur(turn=turn + 1)

        if turn == 0:
            async with asyncio.TaskGroup() as outer, asyncio.TaskGroup() as inner:
                inner.create_task(recurs())
                outer.create_task(sleep(ctx, 3600))
        if turn == 1:
            await race(ctx, sleep(ctx, 3600), recurs())
        return turn

    first_id = await flow.start()

    *_, last = await chain_of(app, first_id)
    assert await statuses(app, first_id) == ["recurred", "recurred", "completed"]
    assert await result_of(app, last["instance_id"]) == 2
    assert calls == ["turn 0", "turn 1"]


async def test_an_error_beside_the_recur_fails_the_instance(app: EddaApp) -> None:
    @workflow
    async def flow(ctx: WorkflowContext, turn: int = 0) -> None:
        async def recurs() -> None:
            await ctx.recur(turn=turn + 1)

        async def fails() -> None:
            raise OSError("no")

        async with asyncio.TaskGroup() as group:
            group.create_task(recurs())
            group.create_task(fails())

    with pytest.raises(ExceptionGroup) as caught:
        await flow.start()
    assert [str(error) for error in caught.value.exceptions] == ["no"]
    failed_id = caught.value.instance_id  # type: ignore[attr-defined]
    assert await statuses(app, failed_id) == ["failed"]


# -- compensations -----------------------------------------------------------------------


async def undo(ctx: WorkflowContext, name: str) -> None:
    calls.append(f"undo {name}")
    if name == "recurring":
        await ctx.recur(turn=9)
    if name == "by hand":
        raise RecurException({"turn": 9})


@activity
@on_failure(undo)
async def do(ctx: WorkflowContext, name: str) -> None: ...


@workflow
async def journey(ctx: WorkflowContext, names: list[str], then: list[str] | None = None) -> None:
    for name in names:
        await do(ctx, name)
    if then is not None:
        await ctx.recur(names=then)
    await broken(ctx)


async def test_a_successor_does_not_compensate_what_came_before_it(app: EddaApp) -> None:
    last_id = await failed_id(journey, names=["flight"], then=["hotel"])
    last = await app.storage.load_instance(last_id)

    assert last is not None
    assert last.continued_from is not None
    assert await statuses(app, last.continued_from) == ["recurred", "failed"]
    assert calls == ["undo hotel"]


async def test_a_compensation_that_would_recur_has_failed(app: EddaApp) -> None:
    """Its workflow is over, and the instance is going to end as it failed."""
    instance_id = await failed_id(journey, names=["flight", "recurring"])

    assert await statuses(app, instance_id) == ["failed"]
    output: Any = (await instance(app, instance_id))["output_data"]
    (error,) = output["compensation_errors"]
    assert error["error_message"] == "ctx.recur cannot be called in a compensation: its workflow is over"
    assert calls[-1] == "undo flight"


async def test_the_signal_raised_in_a_compensation_does_not_save_the_instance(app: EddaApp) -> None:
    instance_id = await failed_id(journey, names=["by hand"])

    assert await statuses(app, instance_id) == ["failed"]
    output: Any = (await instance(app, instance_id))["output_data"]
    (error,) = output["compensation_errors"]
    assert error["error_message"] == "a compensation cannot recur: its workflow is over"
    assert calls == ["undo by hand"]
