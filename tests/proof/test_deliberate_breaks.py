"""Five promises of the engine are broken on purpose, and each break is noticed by what proves the promise."""

from __future__ import annotations

import asyncio
import itertools
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import ColumnElement

from edda.activity import activity
from edda.app import EddaApp
from edda.channels.timers import sleep
from edda.codec.json import dumps, loads_object
from edda.context import WorkflowContext
from edda.exceptions import NonDeterminismError
from edda.journal import Journal
from edda.registrations import KEY
from edda.run import Run
from edda.storage import channels, delivery, fence
from edda.storage.channels import Channel
from edda.storage.dialects.base import Incoming
from edda.storage.models import workflow_instances
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.writes import StepRecorded
from edda.testing.mortal_worker import Moment
from edda.types import EventType
from edda.unit_of_work import UnitOfWork
from edda.workflow import workflow
from tests.proof.scenarios import SCENARIOS
from tests.proof.test_crash_at_every_write import check
from tests.storage.batches import apply_within
from tests.support import playing
from tests.support.apps import always_replay, instance
from tests.support.crashing import Crashes, Scenario, Trial
from tests.support.messages import message, subscriber_of, take_all

on_sqlite = pytest.mark.parametrize("empty_database_url", ["sqlite"], indirect=True)
on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


def by_name(name: str) -> Scenario:
    return next(scenario for scenario in SCENARIOS if scenario.name == name)


@contextmanager
def without_prepared_statements() -> Iterator[None]:
    """Statements are made anew, in the block and after it."""
    _forget_statements()
    yield
    _forget_statements()


def _forget_statements() -> None:
    for name, module in list(sys.modules.items()):
        if name.startswith("edda.storage"):
            for function in list(vars(module).values()):
                if hasattr(function, "cache_clear"):
                    function.cache_clear()


def happening(crashes: Crashes, scenario: Scenario, moment: Moment, write: str) -> Trial:
    """What comes of it if that happens at the commit of this write."""
    return next(trial for trial in crashes.trials(scenario, moment) if write in trial.writes)


# -- no fence --------------------------------------------------------------------------------


def _whoever_it_is(incoming: Incoming) -> tuple[ColumnElement[bool], ...]:
    return (workflow_instances.c.instance_id == incoming["instance_id"],)


@on_sqlite
def test_a_write_without_a_fence(crashes: Crashes, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = by_name("saga_with_failure")
    expected, _ = crashes.undisturbed(scenario)
    check(happening(crashes, scenario, Moment.FROZEN, "session"), expected)
    monkeypatch.setattr(fence, "conditions", _whoever_it_is)
    with without_prepared_statements():
        broken = happening(crashes, scenario, Moment.FROZEN, "session")
    with pytest.raises(AssertionError, match="stands still before commit"):
        check(broken, expected)


# -- a wait that is checked outside the transaction ---------------------------------------------


@on_sqlite
def test_a_look_for_messages_before_the_transaction_that_parks(
    crashes: Crashes, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario = by_name("message_while_parking")
    crashes.undisturbed(scenario)
    monkeypatch.setattr(delivery, "take_instead", lambda exchange, writes: [None for _ in writes])
    monkeypatch.setattr(delivery, "_called", lambda exchange, asleep: set())
    monkeypatch.setattr(playing, "PATIENCE", 1)
    with pytest.raises(AssertionError, match="waiting_for_message"):
        crashes.undisturbed(scenario)


# -- positions by id only ------------------------------------------------------------------------


async def _seen(url: str, patience: float) -> list[Any]:
    """What a subscriber gets, who looks as soon as the quicker of two publishers has committed."""
    mine, other = SQLAlchemyStorage(url), SQLAlchemyStorage(url)
    await mine.open(migrate=True)
    await other.open(migrate=True)
    held = await subscriber_of(mine, "news")
    transaction = mine.transaction()
    await apply_within(mine, transaction, message("news", "slow"))
    quick = asyncio.create_task(other.submit(message("news", "quick")))
    committed, _ = await asyncio.wait({quick}, timeout=patience)
    seen = await take_all(mine, held, "news") if committed else []
    await transaction.commit([])
    await quick
    seen += await take_all(mine, held, "news")
    await mine.close()
    await other.close()
    return seen


@on_postgresql
async def test_positions_that_are_only_numbers(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await _seen(database_url, 0.2) == ["slow", "quick"]
    numbers = itertools.count(100)
    monkeypatch.setattr(
        channels, "lock", lambda *arguments: {name: Channel(next(numbers), None) for name in arguments[2]}
    )
    monkeypatch.setattr(channels, "save", lambda *_: None)
    assert await _seen(database_url, 30) == ["quick"]


# -- compensations outside the unit of work --------------------------------------------------------


async def _record_apart(run: Run, unit: UnitOfWork, step: StepRecorded) -> Any:
    """The step first, and what it has registered in a commit of its own."""
    fields = loads_object(step.event_data)
    registered: Any = fields.pop(KEY, [])
    stands = await _record_with(run, unit, replace(step, event_data=dumps(fields)))
    for one in registered:
        apart = f"{step.activity_id}/registered:{one['compensation_id']}"
        await run.record(run.step(apart, EventType.COMPENSATION_REGISTERED, {**one, "activity_id": apart}))
    return stands


_record_with = Run.record_with


@on_sqlite
def test_a_compensation_that_commits_after_its_step(
    crashes: Crashes, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario, charged = by_name("saga_with_failure"), "StepRecorded charge:1"
    expected, _ = crashes.undisturbed(scenario)
    check(happening(crashes, scenario, Moment.AFTER, charged), expected)
    monkeypatch.setattr(Run, "record_with", _record_apart)
    expected, _ = crashes.undisturbed(scenario)
    with pytest.raises(AssertionError, match="dies after commit"):
        check(happening(crashes, scenario, Moment.AFTER, charged), expected)


# -- no look for what is left over -------------------------------------------------------------------


@activity
async def numbered(ctx: WorkflowContext, number: int) -> int:
    return number


class _Code:
    """What the workflow of the moment does: so many steps, and then a long wait."""

    steps = 0
    waits = True


@workflow
async def random_length(ctx: WorkflowContext) -> None:
    for number in range(_Code.steps):
        await numbered(ctx, number)
    if _Code.waits:
        await sleep(ctx, 3600)


@on_sqlite
async def test_a_history_that_is_longer_than_the_code(app: EddaApp, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(8)
    always_replay(app)
    for _ in range(10):
        length = chance.randint(1, 6)
        _Code.steps, _Code.waits = length, True
        instance_id = await random_length.start()
        _Code.steps, _Code.waits = chance.randrange(length), False
        with pytest.raises(NonDeterminismError):
            await random_length.resume(instance_id)
        assert (await instance(app, instance_id))["status"] == "running"
    monkeypatch.setattr(Journal, "leftovers", lambda _: [])
    await random_length.resume(instance_id)
    assert (await instance(app, instance_id))["status"] == "completed"
