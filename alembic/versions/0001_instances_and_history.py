"""Definitions, instances, history, waits and the inbox."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

OPTIONS: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
}
# Spelled out rather than imported: a revision stays what it was when the tables change.
TIME = sa.DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
TEXT = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
ID = sa.String(255)
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    create_table(
        "workflow_definitions",
        sa.Column("workflow_name", ID, nullable=False),
        sa.Column("source_hash", sa.String(64), nullable=False),
        sa.Column("source_code", TEXT, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("workflow_name", "source_hash", name="pk_workflow_definitions"),
    )
    create_instances()
    create_table(
        "workflow_history",
        sa.Column("id", NUMBER, sa.Identity(), nullable=False),
        sa.Column("instance_id", ID, nullable=False),
        sa.Column("activity_id", ID, nullable=False),
        sa.Column("event_type", sa.String(64), nullable=False),
        sa.Column("event_data", TEXT, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_workflow_history"),
        sa.UniqueConstraint("instance_id", "activity_id", name="uq_workflow_history_instance_id_activity_id"),
    )
    create_table(
        "workflow_waits",
        sa.Column("instance_id", ID, nullable=False),
        sa.Column("activity_id", ID, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("due_at", TIME),
        sa.Column("data", TEXT),
        sa.PrimaryKeyConstraint("instance_id", "activity_id", name="pk_workflow_waits"),
    )
    create_table(
        "workflow_inbox",
        sa.Column("event_key", sa.CHAR(64), nullable=False),
        sa.Column("owner_service", ID, nullable=False),
        sa.Column("source", TEXT, nullable=False),
        sa.Column("event_id", TEXT, nullable=False),
        sa.Column("event_type", TEXT, nullable=False),
        sa.Column("received_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("event_key", name="pk_workflow_inbox"),
    )
    create_index("ix_workflow_inbox_received_at", "workflow_inbox", ["received_at"])


def create_instances() -> None:
    create_table(
        "workflow_instances",
        sa.Column("instance_id", ID, nullable=False),
        sa.Column("workflow_name", ID, nullable=False),
        sa.Column("source_hash", sa.String(64), nullable=False),
        sa.Column("owner_service", ID, nullable=False),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("current_activity_id", ID),
        sa.Column("continued_from", ID),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("input_data", TEXT, nullable=False),
        sa.Column("input_types", TEXT),
        sa.Column("output_data", TEXT),
        sa.Column("lease_owner", ID),
        sa.Column("lease_token", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("leased_at", TIME),
        sa.Column("lock_timeout_seconds", sa.Double()),
        sa.Column("due_at", TIME),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("last_error", TEXT),
        sa.PrimaryKeyConstraint("instance_id", name="pk_workflow_instances"),
    )
    due_only = sa.text("due_at IS NOT NULL")
    create_index(
        "ix_workflow_instances_due_at_workflow_name",
        "workflow_instances",
        ["due_at", "workflow_name"],
        sqlite_where=due_only,
        postgresql_where=due_only,
    )
    create_index(
        "ix_workflow_instances_started_at_instance_id", "workflow_instances", ["started_at", "instance_id"]
    )


# MySQL commits each of these by itself, so a revision that was interrupted meets what
# its first run has made.
def create_table(name: str, *parts: Any) -> None:
    if not sa.inspect(op.get_bind()).has_table(name):
        op.create_table(name, *parts, **OPTIONS)


def create_index(name: str, table: str, columns: list[str], **where: Any) -> None:
    present = {index["name"] for index in sa.inspect(op.get_bind()).get_indexes(table)}
    if name not in present:
        op.create_index(name, table, columns, **where)


def downgrade() -> None:
    for table in (
        "workflow_inbox",
        "workflow_waits",
        "workflow_history",
        "workflow_instances",
        "workflow_definitions",
    ):
        op.drop_table(table)
