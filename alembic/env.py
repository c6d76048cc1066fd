"""Runs the revisions on the connection that the library hands over.

The caller has begun the transaction, holds the lock and commits.
"""

from __future__ import annotations

from sqlalchemy import Connection

from alembic import context
from edda.storage.migrations import VERSION_TABLE
from edda.storage.models import metadata


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table=VERSION_TABLE,
        render_as_batch=True,
        compare_type=True,
    )
    context.run_migrations()


run(context.config.attributes["connection"])
