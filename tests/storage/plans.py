"""How the databases explain what they would do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.sql.base import Executable

from edda.storage.sqlalchemy_storage import SQLAlchemyStorage


async def plan_of(storage: SQLAlchemyStorage, statement: Executable, parameters: Mapping[str, Any]) -> str:
    """The plan of a statement, made on the connection of the writer, as lower-case text."""
    assert storage._writer is not None
    explain = "EXPLAIN QUERY PLAN " if storage.dialect.name == "sqlite" else "EXPLAIN "

    def execute(connection: Connection) -> str:
        text, values = _rendered(connection, statement, parameters)
        rows = connection.exec_driver_sql(explain + text, values).fetchall()
        return "\n".join(str(tuple(row)) for row in rows).lower()

    return await storage._writer._committer.commit(execute)


def _rendered(
    connection: Connection, statement: Executable, parameters: Mapping[str, Any]
) -> tuple[str, Any]:
    """The text and the values that the driver is given."""
    seen: list[tuple[str, Any]] = []

    def note(_1: object, _2: object, text: str, values: Any, _3: object, _4: object) -> None:
        seen.append((text, values))

    event.listen(connection, "before_cursor_execute", note)
    try:
        connection.execute(statement, parameters).close()
    finally:
        event.remove(connection, "before_cursor_execute", note)
    return seen[0]
