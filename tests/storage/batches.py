"""One batch of exactly these writes, past the writer that would choose them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from edda.storage import batch
from edda.storage.dialects.base import Attempt
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.transactions import DatabaseTransaction
from edda.storage.writes import Write


async def apply_batch(storage: SQLAlchemyStorage, attempt: Attempt, *writes: Write[Any]) -> list[Any]:
    """The answers of these writes in one transaction, which is committed."""
    assert storage._writer is not None

    def job(connection: Connection) -> list[Any]:
        return batch.apply(connection, storage.dialect, writes, attempt).answers

    return await storage._writer._committer.commit(job)


async def apply_within(
    storage: SQLAlchemyStorage, transaction: DatabaseTransaction, *writes: Write[Any]
) -> list[Any]:
    """The answers of these writes in a transaction of the user, which stays open."""

    def job(connection: Connection) -> list[Any]:
        return batch.apply(connection, storage.dialect, writes, Attempt.SEPARATE).answers

    connection = await transaction.session.connection()
    return await connection.run_sync(job)
