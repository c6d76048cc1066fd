"""The tables; their only source in a database are the revisions in ``alembic/``."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CHAR, Column, Identity, Index, Integer, MetaData, String, Table, UniqueConstraint, text

from edda.storage.columns import Count, Identifier, LongText, RowNumber, Seconds, UTCDateTime

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# Ids differ by case and accent, whatever the server's default collation says.
OPTIONS: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
}

workflow_definitions = Table(
    "workflow_definitions",
    metadata,
    Column("workflow_name", Identifier, primary_key=True),
    Column("source_hash", String(64), primary_key=True),
    Column("source_code", LongText, nullable=False),
    Column("created_at", UTCDateTime, nullable=False),
    **OPTIONS,
)

workflow_instances = Table(
    "workflow_instances",
    metadata,
    Column("instance_id", Identifier, primary_key=True),
    Column("workflow_name", Identifier, nullable=False),
    Column("source_hash", String(64), nullable=False),
    Column("owner_service", Identifier, nullable=False),
    Column("status", String(32), nullable=False),
    Column("current_activity_id", Identifier),
    Column("continued_from", Identifier),
    Column("started_at", UTCDateTime, nullable=False),
    Column("updated_at", UTCDateTime, nullable=False),
    Column("input_data", LongText, nullable=False),
    Column("input_types", LongText),
    Column("output_data", LongText),
    Column("lease_owner", Identifier),
    Column("lease_token", Count, nullable=False, server_default="0"),
    Column("leased_at", UTCDateTime),
    Column("lock_timeout_seconds", Seconds),
    Column("due_at", UTCDateTime),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("last_error", LongText),
    **OPTIONS,
)
DUE_INDEX = "ix_workflow_instances_due_at_workflow_name"
Index(
    DUE_INDEX,
    workflow_instances.c.due_at,
    workflow_instances.c.workflow_name,
    sqlite_where=text("due_at IS NOT NULL"),
    postgresql_where=text("due_at IS NOT NULL"),
)
Index(
    "ix_workflow_instances_started_at_instance_id",
    workflow_instances.c.started_at,
    workflow_instances.c.instance_id,
)

# Without a foreign key: the fence of each write has seen the instance, and checking
# the key again would cost as much as the row itself.
workflow_history = Table(
    "workflow_history",
    metadata,
    Column("id", RowNumber, Identity(), primary_key=True),
    Column("instance_id", Identifier, nullable=False),
    Column("activity_id", Identifier, nullable=False),
    Column("event_type", String(64), nullable=False),
    Column("event_data", LongText, nullable=False),
    Column("created_at", UTCDateTime, nullable=False),
    UniqueConstraint("instance_id", "activity_id"),
    **OPTIONS,
)

workflow_waits = Table(
    "workflow_waits",
    metadata,
    Column("instance_id", Identifier, primary_key=True),
    Column("activity_id", Identifier, primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("due_at", UTCDateTime),
    Column("data", LongText),
    **OPTIONS,
)

workflow_inbox = Table(
    "workflow_inbox",
    metadata,
    Column("event_key", CHAR(64), primary_key=True),
    Column("owner_service", Identifier, nullable=False),
    Column("source", LongText, nullable=False),
    Column("event_id", LongText, nullable=False),
    Column("event_type", LongText, nullable=False),
    Column("received_at", UTCDateTime, nullable=False),
    Index("ix_workflow_inbox_received_at", "received_at"),
    **OPTIONS,
)
