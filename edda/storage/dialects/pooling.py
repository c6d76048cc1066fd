"""Proxies that pool the transactions of PostgreSQL, as pgbouncer can.

Each transaction may go to another connection of the server. What is kept there from one to
the next is lost, or met by somebody else: prepared statements and settings.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Dialect, event, text
from sqlalchemy.ext.asyncio import AsyncEngine

ANSWER_SECONDS = 10.0

# The driver then sends its text with each statement, without a name for it.
_UNPREPARED: dict[str, Any] = {
    "statement_cache_size": 0,
    "prepared_statement_cache_size": 0,
    "prepared_statement_name_func": str,
}


def watch_for_proxies(engine: AsyncEngine) -> None:
    """Have the connections of this engine prepare nothing if there is a proxy in between."""
    if engine.dialect.driver == "asyncpg" and not event.contains(engine.sync_engine, "do_connect", _connect):
        event.listen(engine.sync_engine, "do_connect", _connect)


def _connect(dialect: Dialect, _record: object, arguments: Any, options: dict[str, Any]) -> Any:
    if "prepared_statement_name_func" in options:  # whoever names them has chosen
        return None
    connection: Any = dialect.connect(*arguments, **options)
    try:
        direct = connection.run_async(_is_direct)
    except BaseException as error:
        connection.terminate()
        if isinstance(error, Exception):  # of the driver, which nobody beyond here knows
            raise ConnectionError(f"the new connection does not answer: {error}") from error
        raise
    if direct:
        return connection
    connection.close()
    options.update(_UNPREPARED)  # those of all later connections as well
    return None


async def _is_direct(driver: Any) -> bool:
    # By the status of a plain query: anything else would have to be prepared. A proxy greets
    # with a number of its own.
    query = f"SELECT 1 WHERE pg_backend_pid() = {driver.get_server_pid():d}"
    return bool(await driver.execute(query, timeout=ANSWER_SECONDS) == "SELECT 1")


def is_direct(connection: Connection) -> bool:
    """Whether this connection is to the server itself, as far as the driver can tell."""
    # Taken out of the pool, a connection knows its driver only through the adapter.
    adapter: Any = connection.connection.dbapi_connection
    greeted = getattr(adapter.driver_connection, "get_server_pid", None)
    return greeted is None or greeted() == connection.scalar(text("SELECT pg_backend_pid()"))
