"""The fence: a write of a run takes effect only while its lease is the instance's."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement
from sqlalchemy.types import TypeEngine

from edda.storage.columns import Count, LongText
from edda.storage.dialects.base import Guard, Incoming, Row
from edda.storage.models import workflow_instances
from edda.storage.records import Lease

# The first columns of every fenced row.
COLUMNS: dict[str, TypeEngine[Any]] = {"instance_id": LongText, "token": Count, "owner": LongText}


def key_of(lease: Lease) -> Row:
    """The values of those columns."""
    return (lease.instance_id, lease.token, lease.owner)


def conditions(incoming: Incoming) -> tuple[ColumnElement[bool], ...]:
    """What holds while the incoming row's lease is good."""
    table = workflow_instances.c
    return (
        table.instance_id == incoming["instance_id"],
        table.lease_token == incoming["token"],
        table.lease_owner == incoming["owner"],
    )


def guard(incoming: Incoming) -> Guard:
    """The instance of each incoming row, under its lease."""
    return Guard(workflow_instances, conditions(incoming))
