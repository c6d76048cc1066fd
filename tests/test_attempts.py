"""What is counted as an attempt, and what is not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from edda import activity, workflow
from edda import attempts as module
from edda.app import EddaApp
from edda.attempts import Attempts
from edda.context import WorkflowContext
from edda.retry import INFINITE_RETRY, GiveUp, RetryAfter, RetryPolicy
from edda.unit_of_work import UnitOfWork
from tests.support.apps import result_of
from tests.support.rows import create_tables, put, rows

POLICY = RetryPolicy(initial_interval=1.0, max_attempts=3)


@pytest.fixture
def attempts() -> Attempts:
    run: Any = object()  # counting asks nothing of it
    return Attempts(run, "pay:1", durable=True)


def failed(attempts: Attempts, policy: RetryPolicy = POLICY) -> RetryAfter | GiveUp:
    attempts.begin()
    return attempts.failed(OSError("no"), policy)


def test_a_first_attempt_that_succeeds_leaves_no_count(attempts: Attempts) -> None:
    attempts.begin()
    attempts.succeeded()
    assert attempts.metadata.total_attempts == 0


def test_a_success_after_a_failure_is_counted(attempts: Attempts) -> None:
    assert isinstance(failed(attempts), RetryAfter)
    attempts.begin()
    attempts.succeeded()
    assert attempts.metadata.total_attempts == 2


def test_a_success_that_the_database_did_not_take_is_not_counted(attempts: Attempts) -> None:
    failed(attempts)
    for _ in range(3):
        attempts.begin()
        attempts.succeeded()
        attempts.not_recorded()
        attempts.not_recorded()
    assert attempts.metadata.total_attempts == 1


def test_a_success_that_fails_at_its_commit_is_one_attempt(attempts: Attempts) -> None:
    failed(attempts)
    attempts.begin()
    attempts.succeeded()
    attempts.failed(OSError("refused"), POLICY)
    assert attempts.metadata.total_attempts == 2
    assert [error["attempt"] for error in attempts.metadata.errors] == [1, 2]


def test_the_policy_ends_the_attempts(attempts: Attempts) -> None:
    assert [type(failed(attempts)) for _ in range(3)] == [RetryAfter, RetryAfter, GiveUp]


@pytest.mark.parametrize(
    ("began", "delays"), [(True, [1.0, 1.0, 1.0, 1.0, None]), (False, [1.0, 2.0, 4.0, 8.0, 16.0])]
)
def test_pauses_in_an_open_transaction_are_short_and_do_not_go_on_for_long(
    attempts: Attempts, began: bool, delays: list[float | None]
) -> None:
    storage: Any = None
    unit = UnitOfWork(storage)
    transaction: Any = SimpleNamespace(began=began)
    unit.shared.transaction = transaction
    with unit.current():
        decisions = [failed(attempts, INFINITE_RETRY) for _ in range(5)]
    assert [getattr(decision, "delay", None) for decision in decisions] == delays


async def test_then_the_activity_around_it_is_tried_again_without_a_transaction(
    app: EddaApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LONGEST_PAUSE_IN_TRANSACTION", 0.01)
    monkeypatch.setattr(module, "_MOST_PAUSE_IN_TRANSACTION", 0.02)
    await create_tables(app)
    outer_calls: list[int] = []
    inner_calls: list[int] = []

    @activity(retry_policy=RetryPolicy(initial_interval=3600.0))
    async def inner(ctx: WorkflowContext) -> None:
        inner_calls.append(len(outer_calls))
        if len(outer_calls) < 2:
            raise OSError("away")

    @activity(retry_policy=RetryPolicy(initial_interval=0.01))
    async def outer(ctx: WorkflowContext) -> str:
        outer_calls.append(1)
        await put(ctx, "row")
        await inner(ctx)
        return "done"

    @workflow
    async def flow(ctx: WorkflowContext) -> str:
        return await outer(ctx)

    assert await result_of(app, await flow.start()) == "done"
    assert inner_calls == [1, 1, 1, 2]
    assert await rows(app) == ["row"]
