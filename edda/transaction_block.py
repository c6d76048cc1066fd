"""``async with ctx.transaction()``: a recorded step in the body, a savepoint inside another unit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import cast

from edda.attempts import Attempts
from edda.branches import Branch
from edda.codec.errors import dump_error, load_error
from edda.codec.json import dumps, loads, loads_object
from edda.exceptions import NonDeterminismError, StorageError, TransactionLostError
from edda.in_flight import InFlight
from edda.journal import ENTERED_AFTER
from edda.registrations import withdrawn
from edda.run import Run
from edda.scope import ActivityScope, activity_scope, inside_activity
from edda.steps import StepCall, call_step, gate_of, pass_replay
from edda.storage.records import HistoryRecord
from edda.storage.writes import StepRecorded, under_lease
from edda.types import EventType, JSONObject
from edda.unit_of_work import UnitOfWork, current_unit

_ENDS = (EventType.TRANSACTION_COMMITTED, EventType.TRANSACTION_ROLLED_BACK)


@asynccontextmanager
async def transaction_block(run: Run) -> AsyncIterator[None]:
    """Commit what happens in the block together, or undo it together."""
    await run.check()
    outer = current_unit()
    if outer is not None:
        async with _savepoint(run, outer):
            yield
        return
    await run.check_cancelled()
    run.turnstile.note_caller()
    call = call_step(run, "transaction")
    record = run.journal.find(call.step_id)
    block = _fresh(run, call) if record is None else _replayed(run, record)
    async with block:
        yield


@asynccontextmanager
async def _savepoint(run: Run, outer: UnitOfWork) -> AsyncIterator[None]:
    unit = UnitOfWork(run.services.storage, outer)
    await unit.enter()
    try:
        with unit.current():
            yield
    except BaseException:
        # The body has seen what happened in here: a replay has to show it the same.
        seen = [] if activity_scope(run) is not None else _seen(unit)
        await unit.discard()
        outer.writes.extend(seen)
        raise
    await unit.merge()


@asynccontextmanager
async def _fresh(run: Run, call: StepCall) -> AsyncIterator[None]:
    await pass_replay(run)
    if run.turnstile.has_unreached:
        await gate_of(run, call, "a transaction").passed()
    async with InFlight(run):
        run.turnstile.expect(call.step_id)
        try:
            async with _performed(run, call):
                yield
        except Exception:
            await run.turnstile.enter(call.step_id)
            raise
        else:
            await run.turnstile.enter(call.step_id)
        finally:
            run.turnstile.leave(call.step_id)


@asynccontextmanager
async def _performed(run: Run, call: StepCall) -> AsyncIterator[None]:
    unit = UnitOfWork(run.services.storage)
    try:
        with unit.current(), Branch(run, f"{call.step_id}/").current():
            yield
    except BaseException as error:
        await _undo(run, call, unit, error, {})
        raise
    try:
        _note_places(run, unit)
        await run.record_with(unit, run.step(call.step_id, EventType.TRANSACTION_COMMITTED, {}))
    except BaseException as error:
        # It is the block that raises this, not the code in it, so a replay has to be told.
        fields: JSONObject = {"exception": dump_error(error)} if isinstance(error, Exception) else {}
        await _undo(run, call, unit, error, fields)
        raise
    # What a callback starts is no step of the body: no replay calls it.
    with inside_activity(ActivityScope(run, call.step_id, Attempts(run, call.step_id, durable=False))):
        await unit.run_callbacks()


def _note_places(run: Run, unit: UnitOfWork) -> None:
    """Have the rows say after which outcomes of other branches the body saw theirs."""
    if not run.turnstile.is_concurrent:
        return  # it saw them in the order of their rows
    for place, write in enumerate(unit.writes):
        if isinstance(write, StepRecorded) and write.activity_id in unit.entered:
            fields = {**loads_object(write.event_data), ENTERED_AFTER: unit.entered[write.activity_id]}
            unit.writes[place] = replace(write, event_data=dumps(fields))


def _seen(unit: UnitOfWork) -> list[StepRecorded]:
    """The steps of a unit that is rolled back, without what they effect."""
    # Whoever has nothing done any more has nothing to compensate either.
    return [
        replace(write, event_data=withdrawn(write.event_type, write.event_data))
        for write in unit.writes
        if isinstance(write, StepRecorded)
    ]


async def _undo(run: Run, call: StepCall, unit: UnitOfWork, error: BaseException, fields: JSONObject) -> None:
    in_trouble = isinstance(error, TransactionLostError) or unit.is_trouble(error)
    _note_places(run, unit)
    seen = tuple(under_lease(step, run.lease) for step in _seen(unit))
    await unit.discard()
    if in_trouble:
        # The block cannot be run again from here; a replay of the instance does that.
        run.stop(StorageError(f"The transaction {call.step_id!r} was lost: {error}"))
        raise run.signal() from error
    if isinstance(error, Exception):
        # The effects are undone, but the body has seen the outcomes and may go on from there:
        # a replay must show it the same ones. All in one write: a block that is performed
        # anew must not find half of them, without their effects.
        rolled_back = run.step(call.step_id, EventType.TRANSACTION_ROLLED_BACK, fields)
        await run.record(replace(rolled_back, effects=seen))


@asynccontextmanager
async def _replayed(run: Run, record: HistoryRecord) -> AsyncIterator[None]:
    """The block has ended in an earlier run: its own statements are not to happen twice."""
    if record.event_type not in _ENDS:
        run.stop(
            NonDeterminismError(
                f"Step {record.activity_id!r} of instance {run.instance_id} is recorded as "
                f"{record.event_type}, but the code opens a transaction there. "
                "The instance is set aside, not failed; it goes on when the matching code is deployed."
            )
        )
        raise run.signal()
    unit = UnitOfWork(run.services.storage)
    unit.is_replayed = True
    # Its statements take their time again: nothing that came after the block enters before it ends.
    run.turnstile.claim(record.activity_id, is_block=True)
    try:
        with unit.current(), Branch(run, f"{record.activity_id}/").current():
            yield
    except Exception:
        await unit.discard()
        await run.turnstile.pass_recorded(record.activity_id)
        raise
    else:
        await unit.discard()
        await run.turnstile.pass_recorded(record.activity_id)
    finally:
        await unit.discard()
        run.turnstile.leave(record.activity_id)
    fields = loads(record.event_data)
    if isinstance(fields, dict) and "exception" in fields:
        raise load_error(cast("JSONObject", fields["exception"]))
