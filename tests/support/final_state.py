"""All that a database holds at the end, in a form in which two ends can be compared."""

from __future__ import annotations

import difflib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, Table, select

from edda.storage import models
from edda.storage.models import metadata
from edda.testing.ends import Namer
from tests.support import rows

# Differs from run to run: when it was, who did it, how often leases were taken, where it last parked.
_MOMENTARY = {
    "archived_at",
    "arrived_at",
    "cancel_token",
    "created_at",
    "current_activity_id",
    "event_key",
    "id",
    "lease_token",
    "published_at",
    "received_at",
    "source_code",
    "started_at",
    "updated_at",
}
_OF_INSTANCE = {
    "history": (models.workflow_history, "instance_id", "id"),
    "archive": (models.workflow_history_archive, "instance_id", "id"),
    "waits": (models.workflow_waits, "instance_id", "activity_id"),
    "subscriptions": (models.workflow_subscriptions, "subscriber_id", "channel"),
}
_OTHERS = (
    (models.workflow_channels, ("channel",)),
    (models.workflow_messages, ("channel", "target", "position")),
    (models.workflow_outbox, ("event_source", "id")),
    (models.workflow_outbox_keys, ("ordering_key",)),
    (models.workflow_inbox, ("event_id",)),
    (models.workflow_definitions, ("workflow_name", "source_hash")),
    (rows.orders, ("name",)),
    (rows.notes, ("text",)),
)

State = dict[str, Any]


def final_state(connection: Connection, forget: Callable[[State], None]) -> State:
    """Every row, those of an instance under it, with names for what is random and without times.

    ``forget`` may remove what is left to chance.
    """
    instances = _read(connection, models.workflow_instances)
    instances.sort(key=lambda row: (row["workflow_name"], row["input_data"], row["instance_id"]))
    for name, (table, owner, order) in _OF_INSTANCE.items():
        owned = defaultdict(list)
        for row in sorted(_read(connection, table), key=lambda row: row[order]):
            owned[row[owner]].append(_without(row, {owner}))
        for instance in instances:
            instance[name] = owned.pop(instance["instance_id"], [])
        assert not owned, f"{name} without an instance: {dict(owned)}"
    state: State = {"instances": [_without(row, ()) for row in instances]}
    for table, columns in _OTHERS:
        found = sorted(_read(connection, table), key=lambda row: [row[name] for name in columns])
        state[table.name] = [_without(row, ()) for row in found]
    forget(state)
    named: State = Namer().name(state)
    return named


def _read(connection: Connection, table: Table) -> list[dict[str, Any]]:
    return [dict(row) for row in (connection.execute(select(table))).mappings()]


def _without(row: Mapping[str, Any], more: Iterable[str]) -> dict[str, Any]:
    return {name: _parsed(value) for name, value in row.items() if name not in _MOMENTARY.union(more)}


def _parsed(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in ("{", "["):
        return json.loads(value)
    return value


def difference(one: State, other: State) -> str:
    """Where two ends differ, line by line; empty if they are the same."""
    before, after = (json.dumps(state, indent=1, default=str).splitlines() for state in (one, other))
    return "\n".join(difflib.unified_diff(before, after, lineterm=""))


def empty(connection: Connection) -> None:
    """Remove every row."""
    for table in (*reversed(metadata.sorted_tables), rows.orders, rows.notes):
        connection.execute(table.delete())
