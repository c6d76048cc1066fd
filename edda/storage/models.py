"""The tables; their only source in a database are the revisions in ``alembic/``."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CHAR, Column, Identity, Index, Integer, MetaData, String, Table, UniqueConstraint, text

from edda.storage.columns import ChannelName, Count, Identifier, LongText, RowNumber, Seconds, UTCDateTime

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
    Column("chain_id", Identifier),
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
    Column("cancel_token", Count),
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
STARTED_INDEX = "ix_workflow_instances_started_at_instance_id"
Index(
    STARTED_INDEX,
    workflow_instances.c.started_at,
    workflow_instances.c.instance_id,
)
# With the status, since the live instance of a chain is looked for among any number of ended ones.
CHAIN_INDEX = "ix_workflow_instances_chain_id_status"
Index(
    CHAIN_INDEX,
    workflow_instances.c.chain_id,
    workflow_instances.c.status,
    sqlite_where=text("chain_id IS NOT NULL"),
    postgresql_where=text("chain_id IS NOT NULL"),
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

# The histories of instances that recurred. Ids are those of the history, where SQLite may
# give the id of a row that has moved here to another instance.
workflow_history_archive = Table(
    "workflow_history_archive",
    metadata,
    Column("instance_id", Identifier, primary_key=True),
    Column("id", RowNumber, primary_key=True, autoincrement=False),
    Column("activity_id", Identifier, nullable=False),
    Column("event_type", String(64), nullable=False),
    Column("event_data", LongText, nullable=False),
    Column("created_at", UTCDateTime, nullable=False),
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
    Column("channel", ChannelName),
    **OPTIONS,
)
Index(
    "ix_workflow_waits_channel",
    workflow_waits.c.channel,
    sqlite_where=text("channel IS NOT NULL"),
    postgresql_where=text("channel IS NOT NULL"),
)

RECEIVED_INDEX = "ix_workflow_inbox_received_at"
workflow_inbox = Table(
    "workflow_inbox",
    metadata,
    Column("event_key", CHAR(64), primary_key=True),
    Column("owner_service", Identifier, nullable=False),
    Column("source", LongText, nullable=False),
    Column("event_id", LongText, nullable=False),
    Column("event_type", LongText, nullable=False),
    Column("received_at", UTCDateTime, nullable=False),
    Index(RECEIVED_INDEX, "received_at"),
    **OPTIONS,
)

# The next event of a key is found in the index of its open rows: `ordering_key` is NULL once
# an event has ended, and so is `arrived_at` once a relayer has seen to it that the key has a
# row of its own. What has ended is in neither index, however much of it there is.
workflow_outbox = Table(
    "workflow_outbox",
    metadata,
    Column("id", RowNumber, Identity(), primary_key=True),
    Column("event_id", Identifier, nullable=False),
    Column("event_type", LongText, nullable=False),
    Column("event_source", LongText, nullable=False),
    Column("subject", LongText),
    Column("extensions", LongText),
    Column("content_type", LongText, nullable=False),
    Column("event_data", LongText, nullable=False),
    Column("data_form", String(16), nullable=False),
    Column("created_at", UTCDateTime, nullable=False),
    Column("arrived_at", UTCDateTime),
    Column("ordering_key", String(64)),
    Column("status", String(16), nullable=False),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("retry_count", Integer, nullable=False, server_default="0"),
    Column("last_error", LongText),
    Column("published_at", UTCDateTime),
    **OPTIONS,
)
ARRIVED_INDEX = "ix_workflow_outbox_arrived_at_id"
OPEN_INDEX = "ix_workflow_outbox_ordering_key_id"
STATUS_INDEX = "ix_workflow_outbox_status_id"
PUBLISHED_INDEX = "ix_workflow_outbox_published_at"
_outbox = workflow_outbox.c
Index(
    ARRIVED_INDEX,
    _outbox.arrived_at,
    _outbox.id,
    sqlite_where=text("arrived_at IS NOT NULL"),
    postgresql_where=text("arrived_at IS NOT NULL"),
)
Index(
    OPEN_INDEX,
    _outbox.ordering_key,
    _outbox.id,
    sqlite_where=text("ordering_key IS NOT NULL"),
    postgresql_where=text("ordering_key IS NOT NULL"),
)
Index(STATUS_INDEX, _outbox.status, _outbox.id)
Index(
    PUBLISHED_INDEX,
    _outbox.published_at,
    sqlite_where=text("published_at IS NOT NULL"),
    postgresql_where=text("published_at IS NOT NULL"),
)

# One row for each key with open events: when its first event may be sent, and who sends it.
workflow_outbox_keys = Table(
    "workflow_outbox_keys",
    metadata,
    Column("ordering_key", String(64), primary_key=True),
    Column("due_at", UTCDateTime, nullable=False),
    Column("lease_token", String(64)),
    Column("waits_for", String(16)),
    **OPTIONS,
)
KEYS_DUE_INDEX = "ix_workflow_outbox_keys_due_at"
Index(KEYS_DUE_INDEX, workflow_outbox_keys.c.due_at)

# Whoever publishes to a channel, parks on it or competes for its messages locks its row
# first. The mode is that of the newest subscription, and so of every one there is.
workflow_channels = Table(
    "workflow_channels",
    metadata,
    Column("channel", ChannelName, primary_key=True),
    Column("next_position", Count, nullable=False),
    Column("mode", String(16)),
    **OPTIONS,
)

# The target is the chain of recurs that a message is for, or empty: for everybody.
MESSAGES_PUBLISHED_INDEX = "ix_workflow_messages_published_at"
workflow_messages = Table(
    "workflow_messages",
    metadata,
    Column("channel", ChannelName, primary_key=True),
    Column("target", Identifier, primary_key=True),
    Column("position", Count, primary_key=True, autoincrement=False),
    Column("message_id", Identifier, nullable=False),
    Column("data", LongText, nullable=False),
    Column("types", LongText),
    Column("metadata", LongText, nullable=False),
    Column("published_at", UTCDateTime, nullable=False),
    Index(MESSAGES_PUBLISHED_INDEX, "published_at"),
    **OPTIONS,
)

# One row. The leader does what only one worker needs to do; it leads until its term expires.
workflow_leader = Table(
    "workflow_leader",
    metadata,
    Column("role", String(32), primary_key=True),
    Column("owner", Identifier),
    Column("expires_at", UTCDateTime, nullable=False),
    **OPTIONS,
)

# By chain of recurs, so that a subscription goes on with the successor as it is. The index
# begins with the mode, lest a planner without statistics takes it for one subscription.
workflow_subscriptions = Table(
    "workflow_subscriptions",
    metadata,
    Column("subscriber_id", Identifier, primary_key=True),
    Column("channel", ChannelName, primary_key=True),
    Column("mode", String(16), nullable=False),
    Column("position", Count, nullable=False),
    Index("ix_workflow_subscriptions_mode_channel", "mode", "channel"),
    **OPTIONS,
)
