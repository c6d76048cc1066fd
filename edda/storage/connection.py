"""From a database URL to an engine, with errors in one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.ext.asyncio import AsyncEngine

from edda.exceptions import StorageError
from edda.storage.dialects.base import Dialect
from edda.storage.dialects.mysql import MySQLDialect
from edda.storage.dialects.postgresql import PostgreSQLDialect
from edda.storage.dialects.sqlite import SQLiteDialect

_SQLITE, _POSTGRESQL, _MYSQL = SQLiteDialect(), PostgreSQLDialect(), MySQLDialect()
_DIALECTS: dict[str, Dialect] = {
    "sqlite": _SQLITE,
    "postgresql": _POSTGRESQL,
    "postgres": _POSTGRESQL,
    "mysql": _MYSQL,
    "mariadb": _MYSQL,
}


def parse(text: str) -> tuple[URL, Dialect]:
    """The URL with its asynchronous driver, and the dialect of its database.

    A URL that names a driver keeps it. Raises ValueError for what is no URL of a known
    database.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # Without the text: a malformed URL may well contain a password.
        raise ValueError(f"Not a database URL; known are {_known()}") from None
    scheme, _, driver = url.drivername.partition("+")
    dialect = _DIALECTS.get(scheme)
    if dialect is None:
        raise ValueError(f"Unknown database scheme {scheme!r}; known are {_known()}")
    return url.set(drivername=f"{dialect.name}+{driver or dialect.driver}"), dialect


def _known() -> str:
    return ", ".join(f"{scheme}://" for scheme in _DIALECTS)


def dialect_of(engine: AsyncEngine) -> Dialect:
    """The dialect of an engine that a user brought."""
    dialect = _DIALECTS.get(engine.dialect.name)
    if dialect is None:
        raise ValueError(f"Unknown database {engine.dialect.name!r}; known are {_known()}")
    return dialect


def create_engine(url: URL, dialect: Dialect, options: Mapping[str, Any]) -> AsyncEngine:
    """An engine that is not connected yet; StorageError when its driver is not installed."""
    try:
        return dialect.create_engine(url, options)
    except ModuleNotFoundError as error:
        hint = f": pip install 'edda-durable[{dialect.extra}]'" if dialect.extra else ""
        raise StorageError(f"The driver {error.name} for {url.drivername} is not installed{hint}") from error
    except NoSuchModuleError as error:
        raise ValueError(
            f"Unknown database driver {url.drivername!r}; {dialect.name}:// alone chooses {dialect.driver}"
        ) from error


def describe(url: URL) -> str:
    """The database as a text for people: where it is, without user and password."""
    scheme = url.get_backend_name()
    if url.host is None:
        return f"{scheme} {url.database or ':memory:'}"
    port = "" if url.port is None else f":{url.port}"
    return f"{scheme} at {url.host}{port}/{url.database or ''}"
