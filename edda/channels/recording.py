"""What the operations of channels have in common: errors that are recorded, places where they cannot be."""

from __future__ import annotations

from edda.codec.errors import dump_error, load_error
from edda.codec.json import loads_object
from edda.exceptions import TerminalError
from edda.run import Run
from edda.scope import activity_scope
from edda.storage.records import HistoryRecord
from edda.types import EventType, JSONObject
from edda.unit_of_work import current_unit


def raise_recorded(record: HistoryRecord) -> None:
    """Raise what the step raised when it was recorded, if it did."""
    fields = loads_object(record.event_data)
    if "exception" in fields:
        raise load_error(fields["exception"])


async def recorded_error(
    run: Run, step_id: str, event_type: EventType, fields: JSONObject, error: Exception
) -> Exception:
    """Record that the step raises this because of what it found; returns what a replay will raise."""
    exception = dump_error(error)
    step = run.step(step_id, event_type, {**fields, "exception": exception}, ends_wait=True)
    stands = await run.record(step)
    if stands is not None:
        raise_recorded(stands)
    return load_error(exception)


def keep_out_of_transactions(run: Run, what: str) -> None:
    """What has an answer of its own is committed at once, so it cannot be undone with a transaction.

    Nor could it be committed beside one that is open: SQLite has one writer.
    """
    unit = current_unit()
    if unit is None:
        return
    if activity_scope(run) is None:
        raise RuntimeError(f"{what} cannot be part of ctx.transaction(); call it before or after the block")
    if unit.began:
        raise TerminalError(f"{what} must come before the first use of ctx.session in this activity")
