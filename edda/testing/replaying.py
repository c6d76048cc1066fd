"""Histories put to the present code: would it still do what is recorded?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from edda.codec.json import dumps
from edda.creation import AnyWorkflow, EngineOptions
from edda.exceptions import EddaError, NonDeterminismError
from edda.execution import Completed, Execution, Failed, Outcome, Recurred, Stopped
from edda.hooks import HookDispatcher
from edda.registrations import is_inside_compensation
from edda.replay import ReplayEngine
from edda.retry import DEFAULT_RETRY_POLICY
from edda.run import Run, Services
from edda.storage.protocol import StorageProtocol
from edda.storage.records import HistoryRecord, Lease
from edda.testing.histories import StoredHistory, histories_in_database, histories_in_files
from edda.types import EventType, Status
from edda.workflow import activated, find_workflow

# What the engine records when the body is over.
_AFTER_THE_BODY = frozenset(
    {
        EventType.WORKFLOW_FAILED,
        EventType.WORKFLOW_CANCELLED,
        EventType.COMPENSATIONS_BEGUN,
        EventType.COMPENSATION_EXECUTED,
        EventType.COMPENSATION_FAILED,
    }
)
_ENDS: dict[Status, tuple[type, str]] = {
    Status.COMPLETED: (Completed, "returned"),
    Status.FAILED: (Failed, "raised an error"),
    Status.RECURRED: (Recurred, "recurred"),
}
_SECONDS = 60.0


@dataclass
class ReplayReport:
    """What came of a comparison: instances by id, and for each that does not match both sides."""

    checked: list[str] = field(default_factory=list)
    problems: dict[str, NonDeterminismError] = field(default_factory=dict)
    not_checked: dict[str, str] = field(default_factory=dict)
    """Instances that cannot be compared to their end, and why."""


async def replay_history(source: str | Path | StoredHistory, **criteria: Any) -> ReplayReport:
    """Check that the present code does what stored histories say; a gate before a deployment.

    ``source`` is the URL of a database, a file that :func:`export_histories` has written, or a
    directory of them. With a URL the ``criteria`` are those of :func:`export_histories`:
    ``workflow_name`` (any part of it), ``status``, ``limit``. The modules with the workflows have to be
    imported. No activity is executed and nothing is written.

    Raises :class:`~edda.exceptions.NonDeterminismError`, with both sides for each instance, when any
    does not match; ``error.report`` is the report.

    ::

        await replay_history("tests/histories")
    """
    report = await compare_histories(source, **criteria)
    if report.problems:
        lines = [f"{instance_id}: {problem}" for instance_id, problem in report.problems.items()]
        error = NonDeterminismError("\n".join(lines))
        error.report = report  # type: ignore[attr-defined]
        raise error from next(iter(report.problems.values()))
    return report


async def compare_histories(source: str | Path | StoredHistory, **criteria: Any) -> ReplayReport:
    """As :func:`replay_history`, but problems are only reported."""
    report = ReplayReport()
    async for stored in _histories(source, criteria):
        report.checked.append(stored.instance_id)
        try:
            await _replay(stored)
        except NonDeterminismError as problem:
            report.problems[stored.instance_id] = problem
        except _NotComparableError as reason:
            report.not_checked[stored.instance_id] = str(reason)
    return report


def _histories(source: str | Path | StoredHistory, criteria: dict[str, Any]) -> AsyncIterator[StoredHistory]:
    if isinstance(source, str) and "://" in source:
        return histories_in_database(source, **criteria)
    if criteria:
        raise TypeError(f"{', '.join(criteria)}: only histories in a database are chosen by criteria")
    if isinstance(source, StoredHistory):
        return _single(source)
    return histories_in_files(Path(source))


async def _single(stored: StoredHistory) -> AsyncIterator[StoredHistory]:
    yield stored


class _NotComparableError(EddaError):
    """What would have to happen for the comparison to go on does not happen in one."""


class _EndOfHistory(EddaError):
    """The code went on to something that is not recorded."""


class _NoStorage:
    """In place of a storage: whoever needs one ends the comparison."""

    def __init__(self) -> None:
        self.asked_for: str | None = None

    def __getattr__(self, name: str) -> Any:
        if self.asked_for is None:
            self.asked_for = name
        raise _NotComparableError(f"its body needs the database ({name}), which a comparison leaves alone")


async def _refuse(run: Run) -> None:
    """Nothing is performed here: the run ends where its history ends."""
    new = sorted(step for step in run.journal.called if run.journal.recorded(step) is None)
    run.stop(_EndOfHistory(", ".join(new)))


async def _replay(stored: StoredHistory) -> None:
    name, status = str(stored.instance["workflow_name"]), Status(stored.instance["status"])
    workflow = find_workflow(name)
    if workflow is None:
        raise NonDeterminismError(f"Workflow {name!r} is in the history, but this process does not know it")
    history = [record for row in stored.history if _is_of_body(record := _record(row))]
    storage = _NoStorage()
    with ThreadPoolExecutor(1) as threads:
        services = Services(
            storage=cast("StorageProtocol", storage),
            worker_id="replay",
            hooks=HookDispatcher(None),
            default_retry_policy=DEFAULT_RETRY_POLICY,
            threads=threads,
        )
        execution = _execution(services, workflow, stored, history)
        outcome = await _outcome(execution)
    if storage.asked_for is not None:
        raise _NotComparableError(f"its body needs the database ({storage.asked_for}), which is left alone")
    _judge(execution, outcome, status)


def _execution(
    services: Services, workflow: AnyWorkflow, stored: StoredHistory, history: list[HistoryRecord]
) -> Execution:
    engine = ReplayEngine(services, EngineOptions("replay", "replay"), wake_in=lambda _: None)
    run = Run(
        Lease(stored.instance_id, "replay", 1, _SECONDS),
        workflow_name=workflow.name,
        services=services,
        history=history,
        subscriptions=(),
    )
    types = None if stored.input_types is None else dumps(cast("Any", stored.input_types))
    try:
        arguments = workflow.codec.load_kwargs_text(dumps(stored.instance["input_data"]), types)
    except (TypeError, ValueError) as error:
        raise NonDeterminismError(
            f"Workflow {workflow.name!r} does not take the recorded input "
            f"{stored.instance['input_data']}: {error}"
        ) from error
    # Without a lease, which every operation that is not recorded asks for before it begins.
    run.give_up_lease()
    run.regain_lease = lambda: _refuse(run)
    with activated(engine):
        return Execution(run, workflow, arguments)


async def _outcome(execution: Execution) -> Outcome:
    try:
        async with asyncio.timeout(_SECONDS):
            return await execution.until_settled()
    except TimeoutError:
        raise _NotComparableError(f"its body did not end within {_SECONDS:g} seconds") from None
    finally:
        execution.run.stop(_EndOfHistory("the comparison is over"))
        await execution.end()


def _judge(execution: Execution, outcome: Outcome, status: Status) -> None:
    run, name = execution.run, execution.workflow.name
    reached_end = isinstance(outcome, Stopped) and isinstance(outcome.reason, _EndOfHistory)
    if isinstance(outcome, Stopped) and not reached_end:
        if isinstance(outcome.reason, NonDeterminismError):
            raise outcome.reason
        raise NonDeterminismError(f"Workflow {name!r}: {outcome.reason}") from outcome.reason
    attempted = f"attempts {run.stopped_by}" if reached_end else _ending(outcome)
    leftovers = run.journal.leftovers()
    if leftovers and status is not Status.CANCELLED:
        first = leftovers[0]
        raise NonDeterminismError(
            f"Workflow {name!r} {attempted}, but the history holds {len(leftovers)} further recorded "
            f"step(s), first {first.activity_id!r} ({first.event_type})"
        )
    if status in _ENDS and not isinstance(outcome, _ENDS[status][0]):
        raise NonDeterminismError(
            f"Workflow {name!r} has {_ENDS[status][1]} according to the history, but the code {attempted}"
        )


def _ending(outcome: Outcome) -> str:
    match outcome:
        case Failed(error):
            return f"raises {error!r}"
        case Recurred():
            return "recurs"
        case _:
            return "returns"


def _is_of_body(record: HistoryRecord) -> bool:
    return record.event_type not in _AFTER_THE_BODY and not is_inside_compensation(record.activity_id)


def _record(row: dict[str, Any]) -> HistoryRecord:
    return HistoryRecord(
        row["id"],
        row["instance_id"],
        row["activity_id"],
        EventType(row["event_type"]),
        dumps(row["event_data"]),
        datetime.fromisoformat(row["created_at"]),
    )
