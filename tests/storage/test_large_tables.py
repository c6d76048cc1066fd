"""What workers ask is found in indexes, beside any number of finished and waiting instances.

The plans are those of tables of ten thousand instances that the planner knows; with a million, and with
the time that all of it takes, it is ``python -m tests.chaos.large``.
"""

from __future__ import annotations

from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from tests.support.large import fill
from tests.support.questions import readings_of_whole_tables

ROWS = 10_000


async def test_no_question_reads_a_table_as_a_whole(storage: SQLAlchemyStorage) -> None:
    assert storage._writer is not None
    await storage._writer._committer.commit(lambda connection: fill(connection, storage.dialect, ROWS))
    assert await readings_of_whole_tables(storage) == []
