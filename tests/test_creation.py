"""New instances before they are stored."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any

import pytest

from edda.codec.json import loads
from edda.context import WorkflowContext
from edda.creation import AnyWorkflow, Creation, EngineOptions, definition_of
from edda.exceptions import ShuttingDownError
from edda.hooks import HookDispatcher
from edda.retry import DEFAULT_RETRY_POLICY
from edda.run import Run, Services
from edda.storage.records import Lease
from edda.storage.writes import DefinitionRegistered, Write
from edda.workflow import Workflow


class CountingStorage:
    def __init__(self) -> None:
        self.writes: list[Write[Any]] = []

    async def submit(self, write: Write[Any], *, within: float | None = None) -> None:
        self.writes.append(write)


@pytest.fixture
def storage() -> CountingStorage:
    return CountingStorage()


@pytest.fixture
def creation(storage: CountingStorage) -> Creation:
    services = Services(
        storage=storage,  # type: ignore[arg-type]  # only submit is used
        worker_id="w",
        hooks=HookDispatcher(None),
        default_retry_policy=DEFAULT_RETRY_POLICY,
        threads=ThreadPoolExecutor(1),
    )
    return Creation(services, EngineOptions("shop", "sqlite://", lease_seconds=30.0))


async def flow(ctx: WorkflowContext, day: date, note: str = "") -> None: ...


def test_the_row_holds_plain_json_and_the_arguments_come_back_typed(creation: Creation) -> None:
    new, arguments = creation.prepare(Workflow(flow), {"day": date(2024, 2, 29)}, leased=False)

    assert loads(new.input_data) == {"day": "2024-02-29"}
    assert arguments == {"day": date(2024, 2, 29)}
    assert (new.owner_service, new.lease) == ("shop", None)


@pytest.mark.parametrize(
    ("given", "decorated", "seconds", "stored"),
    [(None, None, 30.0, None), (None, 12.0, 12.0, 12.0), (5.0, 12.0, 5.0, 5.0), (600.0, None, 30.0, 600.0)],
)
def test_a_lease_lasts_as_long_as_the_lock_timeout_allows_and_never_longer_than_usual(
    creation: Creation, given: float | None, decorated: float | None, seconds: float, stored: float | None
) -> None:
    workflow: AnyWorkflow = Workflow(flow, lock_timeout_seconds=decorated)
    new, _ = creation.prepare(workflow, {"day": date(2024, 1, 1)}, leased=True, lock_timeout=given)

    assert new.lease is not None
    assert (new.lease.owner, new.lease.token, new.lease.seconds) == ("w", 1, seconds)
    assert new.lock_timeout_seconds == stored


async def test_a_definition_is_stored_once_per_process(creation: Creation, storage: CountingStorage) -> None:
    workflow: AnyWorkflow = Workflow(flow)
    for _ in range(3):
        await creation.register_definition(workflow)

    assert storage.writes == [definition_of(workflow)]
    assert isinstance(storage.writes[0], DefinitionRegistered)


def test_nothing_is_prepared_once_the_app_stops(creation: Creation) -> None:
    creation.closed = True
    with pytest.raises(ShuttingDownError, match="EddaApp is shutting down"):
        creation.prepare(Workflow(flow), {"day": date(2024, 1, 1)}, leased=True)


def test_a_successor_continues_the_chain_under_the_same_lock_timeout(creation: Creation) -> None:
    """Whatever the decorator says by now."""
    run = Run(
        Lease("flow-2", "w", 3, 7.0),
        workflow_name="flow",
        services=creation._services,
        chain_id="flow-1",
        lock_timeout_seconds=7.0,
    )
    workflow: AnyWorkflow = Workflow(flow, lock_timeout_seconds=12.0)
    new, arguments = creation.prepare_successor(run, workflow, {"day": date(2024, 1, 1)})

    assert (new.continued_from, new.chain_id, new.lock_timeout_seconds) == ("flow-2", "flow-1", 7.0)
    assert new.lease == Lease(new.instance_id, "w", 1, 7.0)
    assert arguments == {"day": date(2024, 1, 1)}
