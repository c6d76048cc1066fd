from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from edda.storage.dialects.base import ContentionError, Failure
from edda.storage.dialects.postgresql import PostgreSQLDialect
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.writes import Verdict
from tests.support.writes import claim_due, run_of, step

DIALECT = PostgreSQLDialect()
on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


class DriverError(Exception):
    def __init__(self, sqlstate: str | None) -> None:
        super().__init__("some text")
        self.sqlstate = sqlstate


@pytest.fixture
async def storage(database_url: str) -> AsyncIterator[SQLAlchemyStorage]:
    storage = SQLAlchemyStorage(database_url)
    await storage.open(migrate=True)
    yield storage
    await storage.close()


@on_postgresql
async def test_the_time_zone_of_the_database_does_not_matter(database_url: str) -> None:
    storage = SQLAlchemyStorage(database_url)
    await storage.open(migrate=True)
    for zone in ("America/New_York", "Asia/Tokyo"):
        async with storage.engine.begin() as connection:
            name = await connection.scalar(text("SELECT current_database()"))
            await connection.execute(text(f"ALTER DATABASE {name} SET timezone TO '{zone}'"))
        await storage.close()
        await storage.open(migrate=True)
        held = await run_of(storage, seconds=100)
        assert await storage.submit(claim_due()) == ()
        record = await storage.load_instance(held.instance_id)
        assert record is not None
        assert record.started_at.utcoffset() is not None
        assert await storage.seconds_until_due(["order"]) == pytest.approx(100, abs=10)
    await storage.close()


@on_postgresql
async def test_the_writer_probes_indexes_whatever_the_size_of_a_table(storage: SQLAlchemyStorage) -> None:
    assert storage._writer is not None

    def settings(connection: Connection) -> list[object]:
        names = ("enable_seqscan", "enable_hashjoin", "enable_bitmapscan", "jit", "transaction_isolation")
        return [connection.scalar(text(f"SHOW {name}")) for name in names]

    values = await storage._writer._committer.commit(settings)
    assert values == ["off", "off", "off", "off", "read committed"]


@on_postgresql
async def test_a_change_of_the_schema_by_others_costs_no_write(storage: SQLAlchemyStorage) -> None:
    """A prepared statement may outlive the table it was made for; the driver then fails once."""
    held = await run_of(storage)
    for n in range(3):
        await storage.submit(step(held, f"a:{n}"))
        await storage.load_history(held.instance_id)
        async with storage.engine.begin() as connection:
            await connection.execute(text(f"ALTER TABLE workflow_history ADD COLUMN extra_{n} text"))
            for size in (300, 255):
                change = f"ALTER TABLE workflow_instances ALTER lease_owner TYPE varchar({size})"
                await connection.execute(text(change))
        assert await storage.submit(step(held, f"b:{n}")) is Verdict.ACCEPTED
        assert len(await storage.submit(claim_due())) == 0
        await storage.load_instance(held.instance_id)
    assert len(await storage.load_history(held.instance_id)) == 6


@pytest.mark.parametrize(
    ("sqlstate", "failure"),
    [
        ("40001", Failure.CONFLICT),
        ("40P01", Failure.CONFLICT),
        ("55P03", Failure.CONFLICT),
        ("08006", Failure.UNREACHABLE),
        ("57P01", Failure.UNREACHABLE),
        ("57P03", Failure.UNREACHABLE),
        ("53300", Failure.UNREACHABLE),
        ("25006", Failure.UNREACHABLE),
        ("25P03", Failure.UNREACHABLE),
        ("23505", Failure.REFUSED),
        ("22001", Failure.REFUSED),
        (None, Failure.REFUSED),
    ],
)
def test_errors_are_told_by_their_code(sqlstate: str | None, failure: Failure) -> None:
    raw = DriverError(sqlstate)
    assert DIALECT.classify(raw) is failure
    assert DIALECT.classify(DBAPIError("SELECT", None, raw)) is failure
    assert DIALECT.classify(ContentionError()) is Failure.CONFLICT
