"""How the databases explain what they would do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.sql.base import Executable

from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from tests.support.statements import questions_of_sqlite


async def plan_of(storage: SQLAlchemyStorage, statement: Executable, parameters: Mapping[str, Any]) -> str:
    """The plan of a statement, made on the connection of the writer, as lower-case text."""
    (plan,) = await plans_of(storage, lambda connection: connection.execute(statement, parameters).close())
    return plan


async def plans_of(storage: SQLAlchemyStorage, job: Callable[[Connection], object]) -> list[str]:
    """The plans of what a job executes on the connection of the writer, each as lower-case text."""
    assert storage._writer is not None
    return await storage._writer._committer.commit(lambda connection: _explained(storage, connection, job))


async def plans_of_reads(
    storage: SQLAlchemyStorage, statement: Executable, parameters: Mapping[str, Any]
) -> list[str]:
    """The plans of a query where the planner may choose, as on the connections that only read."""
    async with (storage._reads or storage.engine).connect() as connection:
        return await connection.run_sync(
            lambda sync: _explained(storage, sync, lambda _: sync.execute(statement, parameters).close())
        )


def _explained(
    storage: SQLAlchemyStorage, connection: Connection, job: Callable[[Connection], object]
) -> list[str]:
    explain = "EXPLAIN QUERY PLAN " if storage.dialect.name == "sqlite" else "EXPLAIN "
    with _executed(connection) as seen:
        job(connection)
    plans = [connection.exec_driver_sql(explain + text, values).fetchall() for text, values in seen]
    return ["\n".join(str(tuple(row)) for row in rows).lower() for rows in plans]


@contextmanager
def _executed(connection: Connection) -> Iterator[list[tuple[str, Any]]]:
    """The texts that the driver is given in the block, with their values."""
    seen: list[tuple[str, Any]] = []

    def note(_1: object, _2: object, text: str, values: Any, _3: object, many: bool) -> None:
        seen.append((text, values[0] if many else values))

    event.listen(connection, "before_cursor_execute", note)
    try:
        with questions_of_sqlite(lambda _, text, values: seen.append((text, values))):
            yield seen
    finally:
        event.remove(connection, "before_cursor_execute", note)
