"""Which worker leads, and until when."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TABLE = "workflow_leader"
TIME = sa.DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def upgrade() -> None:
    # MySQL commits it by itself, so a revision that was interrupted meets it.
    if sa.inspect(op.get_bind()).has_table(TABLE):
        return
    op.create_table(
        TABLE,
        sa.Column("role", sa.String(32), nullable=False),
        sa.Column("owner", sa.String(255)),
        sa.Column("expires_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("role", name="pk_workflow_leader"),
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
    )


def downgrade() -> None:
    op.drop_table(TABLE)
