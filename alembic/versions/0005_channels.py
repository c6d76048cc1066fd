"""Channels, their messages and subscriptions, and which channel a wait is for."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

ID = sa.String(255)
NAME = sa.String(456)
TEXT = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
TIME = sa.DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
OPTIONS: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
}
WAITS = "workflow_waits"


def upgrade() -> None:
    create_table(
        "workflow_channels",
        sa.Column("channel", NAME, nullable=False),
        sa.Column("next_position", sa.BigInteger(), nullable=False),
        sa.Column("mode", sa.String(16)),
        sa.PrimaryKeyConstraint("channel", name="pk_workflow_channels"),
    )
    create_table(
        "workflow_messages",
        sa.Column("channel", NAME, nullable=False),
        sa.Column("target", ID, nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("message_id", ID, nullable=False),
        sa.Column("data", TEXT, nullable=False),
        sa.Column("types", TEXT),
        sa.Column("metadata", TEXT, nullable=False),
        sa.Column("published_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("channel", "target", "position", name="pk_workflow_messages"),
    )
    create_index("workflow_messages", ["published_at"])
    create_table(
        "workflow_subscriptions",
        sa.Column("subscriber_id", ID, nullable=False),
        sa.Column("channel", NAME, nullable=False),
        sa.Column("mode", sa.String(16), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("subscriber_id", "channel", name="pk_workflow_subscriptions"),
    )
    create_index("workflow_subscriptions", ["mode", "channel"])
    if "channel" not in {column["name"] for column in sa.inspect(op.get_bind()).get_columns(WAITS)}:
        op.add_column(WAITS, sa.Column("channel", NAME))
    for_messages = sa.text("channel IS NOT NULL")
    create_index(WAITS, ["channel"], sqlite_where=for_messages, postgresql_where=for_messages)


# MySQL commits each of these by itself, so a revision that was interrupted meets what
# its first run has made.
def create_table(name: str, *parts: Any) -> None:
    if not sa.inspect(op.get_bind()).has_table(name):
        op.create_table(name, *parts, **OPTIONS)


def create_index(table: str, columns: list[str], **where: Any) -> None:
    name = f"ix_{table}_{'_'.join(columns)}"
    if name not in {index["name"] for index in sa.inspect(op.get_bind()).get_indexes(table)}:
        op.create_index(name, table, columns, **where)


def downgrade() -> None:
    op.drop_index(f"ix_{WAITS}_channel", WAITS)
    op.drop_column(WAITS, "channel")
    for table in ("workflow_subscriptions", "workflow_messages", "workflow_channels"):
        op.drop_table(table)
