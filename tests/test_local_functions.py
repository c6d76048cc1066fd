"""Closures and lambdas as compensations: the very one that was registered, or none at all."""

from __future__ import annotations

from typing import Any

import pytest

from edda import (
    WorkflowContext,
    activity,
    compensation,
    on_failure,
    publish,
    receive,
    register_compensation,
    sleep,
    subscribe,
    workflow,
)
from edda.app import EddaApp
from edda.codec.values import Encoded
from edda.local_functions import forget_functions, function_of, hold_functions
from edda.registrations import Cleared, Registered
from tests.support.apps import Apps, always_replay, instance, reached
from tests.support.sagas import compensated, failed_id, outcomes
from tests.support.trips import cancel

done: list[str] = []


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    done.clear()
    monkeypatch.setattr("edda.local_functions._held", {})
    monkeypatch.setattr("edda.local_functions._told", set())


def undo(ctx: Any) -> None: ...


def registered(function: Any, number: int = 1, **kwargs: Any) -> Registered:
    reference = f"{function.__module__}:{function.__qualname__}"
    call = Encoded({"args": [], "kwargs": kwargs})
    return Registered(number, reference, function.__name__, call, function)


# -- what is held ---------------------------------------------------------------------------


def test_the_very_function_is_found_for_the_registration_that_was_seen() -> None:
    made = [lambda ctx, number=number: number for number in range(2)]
    for number, function in enumerate(made):
        hold_functions(f"i-{number}", [Cleared(()), registered(function)])
    stored = Registered.from_json(registered(made[0]).to_json())
    assert [function_of(f"i-{number}", stored) for number in range(3)] == [*made, None]


def test_another_registration_of_the_same_number_is_another_one() -> None:
    hold_functions("i-1", [registered(lambda ctx: None, item="A")])
    assert function_of("i-1", registered(lambda ctx: None, item="B")) is None


def test_what_is_found_by_its_name_is_not_held_and_nobody_is_warned(caplog: pytest.LogCaptureFixture) -> None:
    hold_functions("i-1", [registered(undo)])
    assert function_of("i-2", registered(undo)) is undo
    assert caplog.text == ""


def test_one_that_only_this_process_can_execute_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    for number in range(2):
        hold_functions("i-1", [registered(lambda ctx: None, number)])
    assert caplog.text.count("only this process can execute it") == 1


def test_what_was_held_longest_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edda.local_functions._MOST_INSTANCES", 2)
    one = registered(lambda ctx: None)
    for name in ("a", "b", "a", "c"):
        hold_functions(name, [one])
    assert [function_of(name, one) is one.target for name in "abc"] == [True, False, True]
    forget_functions("a")
    assert function_of("a", one) is None


# -- instances whose bodies make their own ---------------------------------------------------


@workflow
async def closing_over(ctx: WorkflowContext, order: str, fails: bool = False) -> None:
    @compensation
    async def give_back(ctx: WorkflowContext) -> None:
        done.append(f"give back {order}")

    await register_compensation(ctx, give_back)
    await register_compensation(ctx, lambda ctx: done.append(f"first {order}"))
    await register_compensation(ctx, lambda ctx: done.append(f"second {order}"))
    await sleep(ctx, 0.01 if fails else 100)
    raise ValueError("no")


UNDONE = ["second a", "first a", "give back a"]


async def test_a_cancelled_instance_executes_its_own_not_those_of_the_latest(any_app: EddaApp) -> None:
    first = await closing_over.start(order="a")
    await closing_over.start(order="b")
    assert await cancel(any_app, first)
    assert done == UNDONE


async def test_so_does_one_that_fails_after_it_was_parked(any_app: EddaApp) -> None:
    first = await closing_over.start(order="a", fails=True)
    await closing_over.start(order="b")
    await reached(any_app, first, "failed")
    assert done == UNDONE


async def test_in_another_process_they_are_recorded_failures_and_no_others_are_executed(
    app: EddaApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await closing_over.start(order="a")
    monkeypatch.setattr("edda.local_functions._held", {})  # as in a process that has not run its body
    await closing_over.start(order="b")
    assert await cancel(app, first)
    assert done == []
    output: Any = (await instance(app, first))["output_data"]
    assert [error["error_message"] for error in output["compensation_errors"]] == [
        "Compensation function '<lambda>' not found",
        "Compensation function '<lambda>' not found",
        "Compensation function 'give_back' not found",
    ]


async def test_lambdas_of_several_activities_are_told_apart(app: EddaApp) -> None:
    @activity
    @on_failure(lambda ctx: done.append("flight"))
    async def book_flight(ctx: WorkflowContext) -> None: ...

    @activity
    @on_failure(lambda ctx: done.append("hotel"))
    async def book_hotel(ctx: WorkflowContext) -> None: ...

    @workflow
    async def trip(ctx: WorkflowContext) -> None:
        await book_flight(ctx)
        await book_hotel(ctx)
        await sleep(ctx, 100)

    assert await cancel(app, await trip.start())
    assert done == ["hotel", "flight"]


async def test_the_method_of_an_object_is_never_called_without_it(
    app: EddaApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance_id = await failed_id(with_method)
    assert done == ["undone by desk 7"]
    assert await compensated(app, instance_id) == ["undo"]
    monkeypatch.setattr("edda.local_functions.hold_functions", lambda *_: None)
    monkeypatch.setattr("edda.run.hold_functions", lambda *_: None)
    [(_, kind, data)] = await outcomes(app, await failed_id(with_method))
    assert (kind, data["error_type"]) == ("CompensationFailed", "LookupError")


class Desk:
    """Its methods need to know which desk it is."""

    def __init__(self, number: int) -> None:
        self.number = number

    async def undo(self, ctx: WorkflowContext | None = None) -> None:
        done.append(f"undone by desk {self.number}")


@workflow
async def with_method(ctx: WorkflowContext) -> None:
    await register_compensation(ctx, Desk(7).undo)
    raise ValueError("no")


# -- code that has changed --------------------------------------------------------------------


async def test_a_decorator_that_is_new_is_not_taken_for_one_that_was_there(apps: Apps) -> None:
    """The row names what was registered when it was written, not what is on the activity by now."""
    app = await apps.start()
    always_replay(app)

    @activity
    @on_failure(was_there)
    async def book(ctx: WorkflowContext) -> None: ...

    @workflow
    async def changing(ctx: WorkflowContext) -> None:
        await book(ctx)
        await subscribe(ctx, "news")
        await receive(ctx, "news")
        raise ValueError("no")

    instance_id = await changing.start()
    on_failure(is_new)(book)
    await publish(app.storage, "news", "go on")
    await reached(app, instance_id, "failed")
    assert done == ["was there"]


async def was_there(ctx: WorkflowContext) -> None:
    done.append("was there")


async def is_new(ctx: WorkflowContext) -> None:
    done.append("is new")
