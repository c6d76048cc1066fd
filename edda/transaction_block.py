"""``async with ctx.transaction()``: a recorded step in the body, a savepoint inside another unit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from edda.attempts import Attempts
from edda.codec.errors import dump_error, load_error
from edda.codec.json import loads
from edda.exceptions import NonDeterminismError, StorageError, TransactionLostError
from edda.run import Run
from edda.scope import ActivityScope, inside_activity
from edda.steps import StepCall, call_step, pass_replay
from edda.storage.records import HistoryRecord
from edda.storage.writes import StepRecorded
from edda.types import EventType, JSONObject
from edda.unit_of_work import UnitOfWork, current_unit

_ENDS = (EventType.TRANSACTION_COMMITTED, EventType.TRANSACTION_ROLLED_BACK)


@asynccontextmanager
async def transaction_block(run: Run) -> AsyncIterator[None]:
    """Commit what happens in the block together, or undo it together."""
    run.check()
    outer = current_unit()
    if outer is not None:
        async with _savepoint(run, outer):
            yield
        return
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
        await unit.discard()
        raise
    await unit.merge()


@asynccontextmanager
async def _fresh(run: Run, call: StepCall) -> AsyncIterator[None]:
    await pass_replay(run)
    async with run.operation():
        unit = UnitOfWork(run.services.storage)
        try:
            with unit.current():
                yield
        except BaseException as error:
            await _undo(run, call, unit, error, {})
            raise
        try:
            await run.record_with(unit, run.step(call.step_id, EventType.TRANSACTION_COMMITTED, {}))
        except BaseException as error:
            # It is the block that raises this, not the code in it, so a replay has to be told.
            fields: JSONObject = {"exception": dump_error(error)} if isinstance(error, Exception) else {}
            await _undo(run, call, unit, error, fields)
            raise
        # What a callback starts is no step of the body: no replay calls it.
        with inside_activity(ActivityScope(run, call.step_id, Attempts(run, call.step_id, durable=False))):
            await unit.run_callbacks()


async def _undo(run: Run, call: StepCall, unit: UnitOfWork, error: BaseException, fields: JSONObject) -> None:
    seen = [write for write in unit.writes if isinstance(write, StepRecorded)]
    in_trouble = isinstance(error, TransactionLostError) or unit.is_trouble(error)
    await unit.discard()
    if in_trouble:
        # The block cannot be run again from here; a replay of the instance does that.
        run.stop(StorageError(f"The transaction {call.step_id!r} was lost: {error}"))
        raise run.signal() from error
    if isinstance(error, Exception):
        # The effects are undone, but the body has seen the outcomes and may go on from there:
        # a replay must show it the same ones.
        rolled_back = run.step(call.step_id, EventType.TRANSACTION_ROLLED_BACK, fields)
        await asyncio.gather(*(run.record(step) for step in [*seen, rolled_back]))


@asynccontextmanager
async def _replayed(run: Run, record: HistoryRecord) -> AsyncIterator[None]:
    """The block has ended in an earlier run: its own statements are not to happen twice."""
    if record.event_type not in _ENDS:
        run.stop(
            NonDeterminismError(
                f"Step {record.activity_id!r} of instance {run.instance_id} is recorded as "
                f"{record.event_type}, but the code opens a transaction there"
            )
        )
        raise run.signal()
    unit = UnitOfWork(run.services.storage)
    try:
        with unit.current():
            yield
    except Exception:
        await unit.discard()
        await run.turnstile.pass_recorded(record.activity_id)
        raise
    finally:
        await unit.discard()
    await run.turnstile.pass_recorded(record.activity_id)
    fields = loads(record.event_data)
    if isinstance(fields, dict) and "exception" in fields:
        raise load_error(cast("JSONObject", fields["exception"]))
