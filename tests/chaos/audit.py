"""What must be true when all orders have ended, whatever was done to workers, database and broker."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from sqlalchemy import func, select

from edda.storage.models import (
    workflow_history,
    workflow_instances,
    workflow_messages,
    workflow_outbox,
    workflow_subscriptions,
    workflow_waits,
)
from tests.chaos.fleet import Fleet
from tests.chaos.orders import IN_STOCK, ITEMS, fails, ledger, stock
from tests.support.sink import Sink

BEGUN = [
    ("subscribe___direct__:1", "ChannelSubscribed"),
    ("reserve:1", "ActivityCompleted"),
    ("quote:1", "ActivityCompleted"),
    ("charge:1", "ActivityCompleted"),
    ("sleep:1", "TimerExpired"),
    ("confirm:1", "ActivityCompleted"),
    ("receive___direct__:1", "ChannelMessageReceived"),
]
SHIPPED = [*BEGUN, ("ship:1", "ActivityCompleted")]
UNDONE = [
    *BEGUN,
    ("ship:1", "ActivityFailed"),
    ("workflow_failed", "WorkflowFailed"),
    ("refund", "CompensationExecuted"),
    ("release", "CompensationExecuted"),
]
ENTRIES = {False: ["charged", "confirmed", "reserved", "shipped"]}
ENTRIES[True] = ["charged", "confirmed", "refunded", "released", "reserved"]
# What would be a defect; that an instance is set aside during an outage is said as an error, too.
COMPLAINTS = ("Traceback", "CRITICAL", "ERROR:asyncio", "ERROR:edda.loops", "ERROR:edda.storage")
LEVELS = ("DEBUG:", "INFO:", "WARNING:", "ERROR:", "CRITICAL:")
EVENTS = {False: ["charged", "shipped"], True: ["charged", "refunded"]}


async def audit(fleet: Fleet, sink: Sink, count: int) -> list[str]:
    """What is not as it must be, one line for each finding."""
    findings = [line async for line in _instances(fleet, count)]
    findings += [line async for line in _histories(fleet, count)]
    findings += [line async for line in _application(fleet, count)]
    findings += [line async for line in _events(fleet, sink, count)]
    findings += [line async for line in _leftovers(fleet)]
    return findings + list(_complaints(fleet.outputs))


async def _instances(fleet: Fleet, count: int) -> AsyncIterator[str]:
    table = workflow_instances.c
    query = select(table.instance_id, table.status, table.lease_owner, table.due_at, table.last_error)
    found = {_number(row.instance_id): row for row in await fleet.rows(query)}
    for number in range(count):
        row, expected = found.get(number), "failed" if fails(number) else "completed"
        if row is None:
            yield f"order {number} is gone"
        elif row.status != expected:
            yield f"order {number} is {row.status} instead of {expected}: {row.last_error}"
        elif row.lease_owner is not None or row.due_at is not None:
            yield f"order {number} has a lease left: {row.lease_owner}, due {row.due_at}"


async def _histories(fleet: Fleet, count: int) -> AsyncIterator[str]:
    table = workflow_history.c
    query = select(table.instance_id, table.activity_id, table.event_type, table.event_data)
    steps: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for row in await fleet.rows(query.order_by(table.id)):
        steps[_number(row.instance_id)].append((_step_of(row), row.event_type))
        if "retry_metadata" in row.event_data:
            yield f"trouble is in the history of order {_number(row.instance_id)}: {row.event_data}"
    for number in range(count):
        if steps[number] != (UNDONE if fails(number) else SHIPPED):
            yield f"order {number} has the steps {steps[number]}"


def _step_of(row: Any) -> str:
    """Compensations by their functions: the numbers of their ids also count attempts that were lost."""
    if row.event_type != "CompensationExecuted":
        return str(row.activity_id)
    return str(json.loads(row.event_data)["activity_name"])


async def _application(fleet: Fleet, count: int) -> AsyncIterator[str]:
    entries: dict[int, list[str]] = defaultdict(list)
    for row in await fleet.rows(select(ledger.c.number, ledger.c.entry)):
        entries[row.number].append(row.entry)
    for number in range(count):
        if sorted(entries[number]) != ENTRIES[fails(number)]:
            yield f"order {number} has the entries {entries[number]}"
    shipped = Counter(number % ITEMS for number in range(count) if not fails(number))
    for row in await fleet.rows(select(stock.c.item, stock.c.left)):
        if row.left != IN_STOCK - shipped[row.item]:
            yield f"of item {row.item} there are {row.left}, and {shipped[row.item]} were shipped"


async def _events(fleet: Fleet, sink: Sink, count: int) -> AsyncIterator[str]:
    table = workflow_outbox.c
    recorded = {row.event_id: row for row in await fleet.rows(select(*table))}
    for row in recorded.values():
        if row.status != "published":
            yield f"the event {row.event_type} of {row.event_source} is {row.status}: {row.last_error}"
    sent: dict[str, None] = {}
    told: dict[int, list[str]] = defaultdict(list)
    for received in sink.received:
        event = received.event
        if received.id not in sent and received.id in recorded:
            told[event["data"]["number"]].append(event["type"].removeprefix("order."))
        sent[received.id] = None
    if unknown := sent.keys() - recorded.keys():
        yield f"{len(unknown)} events were sent that are not recorded"
    for number in range(count):
        if told[number] != EVENTS[fails(number)]:
            yield f"of order {number} the broker was told {told[number]}"


async def _leftovers(fleet: Fleet) -> AsyncIterator[str]:
    for table in (workflow_waits, workflow_subscriptions, workflow_messages):
        [row] = await fleet.rows(select(func.count()).select_from(table))
        if row[0]:
            yield f"{row[0]} rows are left in {table.name}"


def _complaints(outputs: Sequence[str]) -> Iterator[str]:
    speaker = ""
    for line in outputs:
        if line.startswith(LEVELS):
            speaker = line
        # The pool says so when a connection is found broken at its return.
        if line.startswith(COMPLAINTS) and not speaker.startswith("ERROR:sqlalchemy.pool"):
            yield f"a worker said: {line}"


def repetitions(sink: Sink) -> int:
    """How many events were sent again, as is allowed after a crash between sending and marking."""
    return len(sink.received) - len({received.id for received in sink.received})


def _number(instance_id: str) -> int:
    return int(instance_id.rpartition("-")[2])
