"""Bringing the schema up to date, or checking that it is.

The revisions lie in ``alembic/``: in the wheel beside this package as ``edda/_alembic``,
in a checkout at its top. Alembic is loaded only when there is something to migrate: it
is slow to import, and mostly the schema is current.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Connection, MetaData, String, Table, inspect, select

from edda.exceptions import StorageError
from edda.storage.dialects.base import Dialect

VERSION_TABLE = "edda_alembic_version"
_VERSIONS = Table(VERSION_TABLE, MetaData(), Column("version_num", String(32)))
_PACKAGE = Path(__file__).resolve().parent.parent
_PLACES = (_PACKAGE / "_alembic", _PACKAGE.parent / "alembic")

logger = logging.getLogger(__name__)


def script_location() -> Path:
    """The directory of the revisions."""
    for place in _PLACES:
        if (place / "versions").is_dir():
            return place
    raise StorageError(f"{_PLACES[0]} is missing from the installation: install edda-durable again")


def known_revisions() -> list[str]:
    """All revisions of this version of the library, the newest last.

    Read from the names of the files, ``0001_what_it_does.py``.
    """
    files = (script_location() / "versions").glob("[0-9]*_*.py")
    return sorted(file.name.partition("_")[0] for file in files)


def found_revision(connection: Connection) -> str | None:
    """The revision of the database, None before the first."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(select(_VERSIONS.c.version_num)).scalar()


def check(connection: Connection) -> None:
    """Raise StorageError unless the schema is the one this version works with."""
    found, known = found_revision(connection), known_revisions()
    if found != known[-1]:
        raise StorageError(_mismatch(found, known))


def _mismatch(found: str | None, known: list[str]) -> str:
    if found is not None and found not in known:
        return (
            f"The database schema is of revision {found}, newer than what this edda expects: {known[-1]}. "
            "Deploy a version that knows it"
        )
    return (
        f"The database schema is of revision {found or 'none'}, expected is {known[-1]}: "
        "migrate it first, by an app with auto_migrate=True"
    )


def is_current(connection: Connection) -> bool:
    """Whether there is nothing to migrate; StorageError when the schema is newer than the code."""
    found, known = found_revision(connection), known_revisions()
    if found is not None and found not in known:
        raise StorageError(_mismatch(found, known))
    return found == known[-1]


def upgrade(connection: Connection, dialect: Dialect) -> None:
    """Bring the schema to the newest revision; one process at a time does, the others wait.

    The caller has begun a transaction and commits it.
    """
    dialect.lock_migration(connection)
    try:
        # Only now can nobody else be migrating.
        if not is_current(connection):
            _run_alembic(connection)
    finally:
        dialect.unlock_migration(connection)


def _run_alembic(connection: Connection) -> None:
    # They take longer to import than all the rest of opening a database.
    from alembic.config import Config

    from alembic import command

    config = Config()
    config.set_main_option("script_location", str(script_location()).replace("%", "%%"))
    attributes: dict[str, Any] = config.attributes
    attributes["connection"] = connection
    command.upgrade(config, "head")
    logger.info("The database schema is up to date", extra={"revision": known_revisions()[-1]})
