"""Answers and rows of a database in the form in which the model has them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Table, bindparam, select, update

from edda import clock
from edda.storage import models
from edda.storage.columns import UTCDateTime
from edda.storage.message_writes import Swept, Taken
from edda.storage.models import metadata
from edda.storage.outbox import ordering_key
from edda.storage.records import ClaimedInstance, LeasedEvent
from edda.storage.upkeep_writes import InstancesSwept, LeaderTerm
from edda.storage.writes import AlreadyRecorded, Parked
from edda.types import EventType
from tests.proof.oracle_instances import half_hours
from tests.proof.oracle_world import World


def plain(answer: Any) -> Any:
    """An answer without what differs from run to run."""
    result = answer
    match answer:
        case ClaimedInstance() as one:
            run = (one.workflow_name, one.status, one.attempts, one.chain_id, one.cancelled)
            result = ("claimed", one.lease, *run)
        case AlreadyRecorded(record):
            data = _data(record.event_type, record.event_data)
            result = ("recorded", record.activity_id, record.event_type, data)
        case Parked(due_in):
            result = ("parked", half_hours(due_in))
        case Taken(event_data):
            result = ("taken", _data(EventType.CHANNEL_MESSAGE_RECEIVED, event_data))
        case LeaderTerm(granted, seconds):
            result = ("leads", granted, half_hours(seconds))
        case LeasedEvent() as event:
            counts = (event.failures, event.retry_count, event.last_error or "")
            result = ("event", event.event_id, event.token, *counts)
        case Swept(removed, None) | InstancesSwept(removed, None):
            result = ("swept", removed)
        case tuple():
            result = tuple(sorted(map(plain, answer), key=str))
    return result


def _data(event_type: str, event_data: str) -> str:
    if event_type != EventType.CHANNEL_MESSAGE_RECEIVED:
        return event_data
    parts = json.loads(event_data)
    assert datetime.fromisoformat(parts["published_at"]).tzinfo is not None
    return f"{parts['id']} on {parts['channel']}: {json.dumps(parts['data'])}"


def pass_time(connection: Connection, seconds: float) -> None:
    """Have everything that is there be so much older: the clock goes on, and nobody waits."""
    span = timedelta(seconds=seconds)
    for table in metadata.tables.values():
        times = [column.name for column in table.c if isinstance(column.type, UTCDateTime)]
        keys = [column.name for column in table.primary_key.columns]
        rows = connection.execute(select(table)).mappings().all() if times else []
        earlier = [
            {f"its_{name}": row[name] for name in keys}
            | {f"new_{name}": None if row[name] is None else row[name] - span for name in times}
            for row in rows
        ]
        if earlier:
            its_key = (table.c[name] == bindparam(f"its_{name}") for name in keys)
            moved: dict[str, Any] = {name: bindparam(f"new_{name}") for name in times}
            connection.execute(update(table).where(*its_key).values(moved), earlier)


def empty(connection: Connection) -> None:
    """Remove every row."""
    for table in metadata.tables.values():
        connection.execute(table.delete())


def due_now(connection: Connection, instance_ids: Collection[str]) -> set[str]:
    """Those of these instances that are due."""
    table = models.workflow_instances.c
    due = select(table.instance_id).where(table.instance_id.in_(instance_ids), table.due_at <= clock.now())
    return set(connection.scalars(due))


# -- everything there is -------------------------------------------------------------------------


def rows_of(connection: Connection) -> dict[str, Any]:
    """All rows, by what they are about."""
    now = clock.now()

    def ago(moment: datetime | None) -> int | None:
        return None if moment is None else half_hours((now - moment).total_seconds())

    def read(table: Table) -> Any:
        return _read(connection, table)

    return {
        "instances": {
            row.instance_id: (
                (row.workflow_name, row.status, row.output_data, row.current_activity_id),
                (row.lease_owner, row.lease_token, row.cancel_token, row.attempts, row.last_error),
                (row.chain_id, row.continued_from, row.lock_timeout_seconds),
                (ago(row.started_at), ago(row.updated_at), ago(row.leased_at), ago(row.due_at)),
            )
            for row in read(models.workflow_instances)
        },
        "history": _steps(read(models.workflow_history)),
        "archive": _steps(read(models.workflow_history_archive)),
        "waits": {
            (row.instance_id, row.activity_id): (row.kind, ago(row.due_at), row.data, row.channel)
            for row in read(models.workflow_waits)
        },
        "channels": {row.channel: (row.next_position, row.mode) for row in read(models.workflow_channels)},
        "messages": {
            (row.channel, row.target, row.position): (row.message_id, row.data, ago(row.published_at))
            for row in read(models.workflow_messages)
        },
        "subscriptions": {
            (row.subscriber_id, row.channel): (row.mode, row.position)
            for row in read(models.workflow_subscriptions)
        },
        "inbox": {
            row.event_key: (row.owner_service, ago(row.received_at)) for row in read(models.workflow_inbox)
        },
        "leader": [(row.owner, ago(row.expires_at)) for row in read(models.workflow_leader)],
        **_rows_of_outbox(read, ago),
    }


def _read(connection: Connection, table: Table) -> Any:
    order = [table.c.id] if "id" in table.c else list(table.primary_key.columns)
    return connection.execute(select(table).order_by(*order)).all()


def _steps(rows: Any) -> dict[str, list[tuple[str, str, str]]]:
    found = defaultdict(list)
    for row in rows:
        data = _data(row.event_type, row.event_data)
        found[row.instance_id].append((row.activity_id, row.event_type, data))
    return dict(found)


def _rows_of_outbox(
    read: Callable[[Table], Any], ago: Callable[[datetime | None], int | None]
) -> dict[str, Any]:
    events = read(models.workflow_outbox)
    keys = {ordering_key(row.event_source, None): row.event_source for row in events}
    return {
        "events": [
            (
                (row.event_id, row.status, row.ordering_key is not None, ago(row.arrived_at)),
                (row.failures, row.retry_count, row.last_error, ago(row.published_at)),
            )
            for row in events
        ],
        "keys": {
            keys[row.ordering_key]: (ago(row.due_at), row.lease_token, row.waits_for)
            for row in read(models.workflow_outbox_keys)
        },
    }


def rows_expected(world: World) -> dict[str, Any]:
    """The same of the model."""

    def ago(moment: float | None) -> int | None:
        return None if moment is None else half_hours(world.now - moment)

    instances = world.instances.values()
    return {
        "instances": {
            one.instance_id: (
                (one.workflow_name, one.status, one.output, one.current),
                (one.owner, one.token, one.cancel_token, one.attempts, one.error),
                (one.chain_id, one.continued_from, one.lock_timeout),
                (ago(one.started), ago(one.updated), ago(one.leased_at), ago(one.due)),
            )
            for one in instances
        },
        "history": {one.instance_id: list(one.history.values()) for one in instances if one.history},
        "archive": {one.instance_id: one.archive for one in instances if one.archive},
        "waits": {
            (one.instance_id, step): (wait.kind, ago(wait.due), wait.data, wait.channel)
            for one in instances
            for step, wait in one.waits.items()
        },
        "channels": {name: (one.next_position, one.mode) for name, one in world.channels.items()},
        "messages": {
            (one.channel, one.target, one.position): (one.message_id, one.data, ago(one.published))
            for one in world.messages
        },
        "subscriptions": {key: (held.mode, held.position) for key, held in world.subscriptions.items()},
        "inbox": {key: (service, ago(received)) for key, (service, received) in world.inbox.items()},
        "events": [
            (
                (one.event_id, one.status, one.is_open, ago(one.arrived)),
                (one.failures, one.retry_count, one.error, ago(one.published)),
            )
            for one in world.events
        ],
        "keys": {
            source: (ago(key.due), key.token, "broker" if key.for_broker else None)
            for source, key in world.keys.items()
        },
        "leader": [] if world.leader is None else [(world.leader.owner, ago(world.leader.expires))],
    }
