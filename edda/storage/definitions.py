"""The versions of workflow functions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from sqlalchemy import Connection

from edda.storage.columns import LongText
from edda.storage.dialects.base import Attempt, Dialect, RowsStatement
from edda.storage.models import workflow_definitions
from edda.storage.writes import DefinitionRegistered


def register(
    connection: Connection, dialect: Dialect, writes: Sequence[DefinitionRegistered], attempt: Attempt
) -> list[None]:
    """Store the versions that are not there yet."""
    rows = {(write.workflow_name, write.source_hash): write.source_code for write in writes}
    dialect.run(connection, _insert(dialect), sorted((*key, code) for key, code in rows.items()))
    return [None] * len(writes)


@cache
def _insert(dialect: Dialect) -> RowsStatement:
    columns = {"workflow_name": LongText, "source_hash": LongText, "source_code": LongText}
    incoming = dialect.incoming(**columns)
    statement = dialect.insert_absent(
        workflow_definitions,
        {**incoming.columns, "created_at": dialect.now()},
        incoming=incoming,
        key=("workflow_name", "source_hash"),
    )
    return RowsStatement(statement, incoming)
