"""Real transactions: what they leave behind, and what becomes of them in trouble."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Generator
from typing import Any, Literal

import pytest
from sqlalchemy import insert, make_url

from edda import RetryPolicy, WorkflowContext, activity, workflow
from edda.app import EddaApp
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.writes import AlreadyRecorded, Verdict
from tests.support.apps import Apps, result_of, steps_of
from tests.support.databases import Databases, fresh_database
from tests.support.eventually import PATIENCE
from tests.support.proxy import CommitFault, proxy_to
from tests.support.rows import (
    check_nothing_is_held,
    connections_in_use,
    create_tables,
    notes,
    put_one,
    put_row,
    rows,
    storage_of,
)
from tests.support.writes import run_of, step

ONCE = RetryPolicy(max_attempts=1)


@pytest.fixture
async def app(apps: Apps) -> EddaApp:
    app = await apps.start(default_retry_policy=ONCE)
    await create_tables(app)
    return app


async def test_a_step_that_looks_the_same_is_of_another_transaction(storage: SQLAlchemyStorage) -> None:
    """So its rows are there already, and those of this transaction are rolled back."""
    written = step(await run_of(storage))
    assert await storage.submit(written) is Verdict.ACCEPTED

    transaction = storage.transaction()
    await transaction.session.connection()
    (answer,) = await transaction.commit([written])

    assert isinstance(answer, AlreadyRecorded)
    assert not transaction.began
    assert not storage.gate.locked()


@pytest.mark.parametrize("fault", CommitFault)
@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
async def test_a_commit_that_is_lost_stores_the_row_once(
    databases: Databases, kind: Literal["postgresql", "mysql"], fault: CommitFault
) -> None:
    """Whether it was carried out or not."""
    calls: list[int] = []
    server = await databases.shared_server(kind)

    async with fresh_database(server) as url, proxy_to(server) as proxy:

        @activity(retry_policy=ONCE)
        async def unlucky(ctx: WorkflowContext) -> str:
            calls.append(1)
            await ctx.session.execute(insert(notes).values(text="a"))
            if len(calls) == 1:
                proxy.fail_next_commit(fault)
            return "done"

        @workflow
        async def flow(ctx: WorkflowContext) -> str:
            return await unlucky(ctx)

        async with EddaApp("tests", proxy.url_for(make_url(url).database or "")) as app:
            await create_tables(app)
            instance_id = await flow.start()
            assert await result_of(app, instance_id) == "done"
            async with storage_of(app).engine.connect() as connection:
                assert list(await connection.scalars(notes.select())) == ["a"]
            assert await steps_of(app, instance_id) == [("unlucky:1", "ActivityCompleted")]
    assert len(calls) == (1 if fault is CommitFault.ANSWER_LOST else 2)


async def test_code_that_never_asks_for_the_database_holds_none_of_it(apps: Apps) -> None:
    """Fifty activities at once, far more than the pool has connections."""
    app = await apps.start(pool_size=5, max_overflow=10, pool_timeout=1)
    together = asyncio.Barrier(50)
    in_use: list[int] = []

    @activity
    async def meet(ctx: WorkflowContext) -> None:
        await together.wait()
        in_use.append(connections_in_use(app))
        assert not storage_of(app).gate.locked()
        await together.wait()

    @workflow
    async def flow(ctx: WorkflowContext) -> None:
        await meet(ctx)

    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(flow.start() for _ in range(50)))
    assert len(in_use) == 50
    assert max(in_use) <= 1  # a probe of the due loop may be under way


async def test_fifty_users_of_the_session_share_a_small_pool(apps: Apps) -> None:
    app = await apps.start(pool_size=2, max_overflow=2, default_retry_policy=ONCE)
    await create_tables(app)

    names = [f"{number:02}" for number in range(50)]
    await asyncio.gather(*(put_one.start(name=name) for name in names))

    assert await rows(app) == names
    await check_nothing_is_held(app)


class CancelledAt:
    """Awaits something and cancels the task when it is suspended for this time."""

    def __init__(self, awaited: Coroutine[Any, Any, Any], suspension: int) -> None:
        self._awaited = awaited
        self._left = suspension

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self._awaited.__await__()
        result, error = None, None
        while True:
            try:
                yielded = steps.throw(error) if error is not None else steps.send(result)
            except StopIteration as end:
                return end.value
            result, error = None, None
            self._left -= 1
            if self._left == 0:
                task = asyncio.current_task()
                assert task is not None
                asyncio.get_running_loop().call_soon(task.cancel)
            try:
                result = yield yielded
            except BaseException as thrown:  # noqa: BLE001 - it belongs to what is awaited
                error = thrown

    @property
    def was_cancelled(self) -> bool:
        return self._left <= 0


async def test_an_activity_cancelled_at_any_point_stores_all_or_nothing(
    app: EddaApp, caplog: pytest.LogCaptureFixture
) -> None:
    """A cancellation at each suspension in turn, from the first statement to the end of the commit."""
    caplog.set_level(logging.WARNING)
    cancelled: list[bool] = []

    @workflow
    async def flow(ctx: WorkflowContext, suspension: int) -> str:
        step = CancelledAt(put_row(ctx, f"{suspension:03}"), suspension)
        try:
            await step
        except asyncio.CancelledError:
            return "cancelled"
        finally:
            cancelled.append(step.was_cancelled)
        return "done"

    for suspension in range(1, 200):
        instance_id = await flow.start(suspension=suspension)
        await check_nothing_is_held(app)
        recorded = await steps_of(app, instance_id)
        stored = f"{suspension:03}" in await rows(app)
        assert stored == (recorded == [("put_row:1", "ActivityCompleted")]), suspension
        if not cancelled[-1]:
            break
    assert cancelled[-1] is False
    assert len(cancelled) > 5
    await put_one.start(name="after")
    assert "never retrieved" not in caplog.text
