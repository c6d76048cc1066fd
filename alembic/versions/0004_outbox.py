"""The outbox: events to be sent, and a row for each key that has open ones."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

OPTIONS: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
}
TIME = sa.DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
TEXT = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
ID = sa.String(255)
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    create_table(
        "workflow_outbox",
        sa.Column("id", NUMBER, sa.Identity(), nullable=False),
        sa.Column("event_id", ID, nullable=False),
        sa.Column("event_type", TEXT, nullable=False),
        sa.Column("event_source", TEXT, nullable=False),
        sa.Column("subject", TEXT),
        sa.Column("extensions", TEXT),
        sa.Column("content_type", TEXT, nullable=False),
        sa.Column("event_data", TEXT, nullable=False),
        sa.Column("data_form", sa.String(16), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("arrived_at", TIME),
        sa.Column("ordering_key", sa.String(64)),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("retry_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("last_error", TEXT),
        sa.Column("published_at", TIME),
        sa.PrimaryKeyConstraint("id", name="pk_workflow_outbox"),
    )
    create_index("ix_workflow_outbox_arrived_at_id", ["arrived_at", "id"], only="arrived_at")
    create_index("ix_workflow_outbox_ordering_key_id", ["ordering_key", "id"], only="ordering_key")
    create_index("ix_workflow_outbox_status_id", ["status", "id"])
    create_index("ix_workflow_outbox_published_at", ["published_at"], only="published_at")
    create_table(
        "workflow_outbox_keys",
        sa.Column("ordering_key", sa.String(64), nullable=False),
        sa.Column("due_at", TIME, nullable=False),
        sa.Column("lease_token", sa.String(64)),
        sa.Column("waits_for", sa.String(16)),
        sa.PrimaryKeyConstraint("ordering_key", name="pk_workflow_outbox_keys"),
    )
    create_index("ix_workflow_outbox_keys_due_at", ["due_at"], table="workflow_outbox_keys")


# MySQL commits each of these by itself, so a revision that was interrupted meets what
# its first run has made.
def create_table(name: str, *parts: Any) -> None:
    if not sa.inspect(op.get_bind()).has_table(name):
        op.create_table(name, *parts, **OPTIONS)


def create_index(
    name: str, columns: list[str], *, table: str = "workflow_outbox", only: str | None = None
) -> None:
    present = {index["name"] for index in sa.inspect(op.get_bind()).get_indexes(table)}
    if name in present:
        return
    where: dict[str, Any] = {}
    if only is not None:
        condition = sa.text(f"{only} IS NOT NULL")
        where = {"sqlite_where": condition, "postgresql_where": condition}
    op.create_index(name, table, columns, **where)


def downgrade() -> None:
    op.drop_table("workflow_outbox_keys")
    op.drop_table("workflow_outbox")
