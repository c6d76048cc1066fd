"""The chain that an instance belongs to: the id of the first of those that continue each other."""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLE = "workflow_instances"
INDEX = "ix_workflow_instances_chain_id_status"


# MySQL commits each of these by itself, so a revision that was interrupted meets what
# its first run has made.
def upgrade() -> None:
    table = sa.inspect(op.get_bind())
    if "chain_id" not in {column["name"] for column in table.get_columns(TABLE)}:
        op.add_column(TABLE, sa.Column("chain_id", sa.String(255)))
    if INDEX not in {index["name"] for index in table.get_indexes(TABLE)}:
        chained_only = sa.text("chain_id IS NOT NULL")
        op.create_index(
            INDEX, TABLE, ["chain_id", "status"], sqlite_where=chained_only, postgresql_where=chained_only
        )


def downgrade() -> None:
    op.drop_index(INDEX, TABLE)
    op.drop_column(TABLE, "chain_id")
