"""That an instance is to end as cancelled, and which lease its request was addressed to."""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TABLE = "workflow_instances"


def upgrade() -> None:
    # MySQL commits it by itself, so a revision that was interrupted meets it.
    if "cancel_token" not in {column["name"] for column in sa.inspect(op.get_bind()).get_columns(TABLE)}:
        op.add_column(TABLE, sa.Column("cancel_token", sa.BigInteger()))


def downgrade() -> None:
    op.drop_column(TABLE, "cancel_token")
