from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, OperationalError

from edda.exceptions import StorageError
from edda.storage.dialects.base import ContentionError, Failure
from edda.storage.dialects.mysql import MySQLDialect
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.writes import Verdict
from tests.support.writes import claim_due, run_of, step

DIALECT = MySQLDialect()
on_mysql = pytest.mark.parametrize("database_url", ["mysql"], indirect=True)


@pytest.fixture
async def storage(database_url: str) -> AsyncIterator[SQLAlchemyStorage]:
    storage = SQLAlchemyStorage(database_url)
    await storage.open(migrate=True)
    yield storage
    await storage.close()


@on_mysql
async def test_the_time_zone_of_a_connection_does_not_matter(storage: SQLAlchemyStorage) -> None:
    assert storage._writer is not None

    def move(connection: Connection) -> None:
        connection.execute(text("SET time_zone = '-07:00'"))

    await storage._writer._committer.commit(move)
    await run_of(storage, seconds=100)
    assert await storage.submit(claim_due()) == ()
    assert await storage.seconds_until_due(["order"]) == pytest.approx(100, abs=10)


@on_mysql
async def test_a_row_larger_than_the_server_takes_fails_alone(storage: SQLAlchemyStorage) -> None:
    held, other = await run_of(storage), await run_of(storage)
    async with storage.engine.connect() as connection:
        limit = await connection.scalar(text("SELECT @@max_allowed_packet"))
    large = '{"result":"' + "x" * int(limit or 0) + '"}'
    quoted = '"' * (int(limit or 0) // 2)
    answers = await asyncio.gather(
        storage.submit(step(held, "a:1")),
        storage.submit(step(held, "large:1", large)),
        storage.submit(step(held, "quoted:1", quoted)),
        storage.submit(step(other, "a:1")),
        return_exceptions=True,
    )
    assert [answers[0], answers[3]] == [Verdict.ACCEPTED] * 2
    for answer in answers[1:3]:
        assert isinstance(answer, StorageError)
        assert "max_allowed_packet" in str(answer)


@on_mysql
async def test_connections_read_what_is_committed(storage: SQLAlchemyStorage) -> None:
    assert storage._writer is not None

    def isolation(connection: Connection) -> object:
        return connection.get_isolation_level()

    assert await storage._writer._committer.commit(isolation) == "READ COMMITTED"


@pytest.mark.parametrize(
    ("code", "failure"),
    [
        (1213, Failure.CONFLICT),
        (1205, Failure.CONFLICT),
        (1062, Failure.CONFLICT),
        (2006, Failure.UNREACHABLE),
        (2013, Failure.UNREACHABLE),
        (2003, Failure.UNREACHABLE),
        (1040, Failure.UNREACHABLE),
        (1290, Failure.UNREACHABLE),
        (1406, Failure.REFUSED),
        (1366, Failure.REFUSED),
    ],
)
def test_errors_are_told_by_their_code(code: int, failure: Failure) -> None:
    raw = Exception(code, "some text")
    assert DIALECT.classify(raw) is failure
    assert DIALECT.classify(OperationalError("SELECT", None, raw)) is failure


def test_errors_without_a_code_are_told_by_their_kind() -> None:
    assert DIALECT.classify(ContentionError()) is Failure.CONFLICT
    assert DIALECT.classify(ConnectionRefusedError(111, "refused")) is Failure.UNREACHABLE
    assert DIALECT.classify(DBAPIError("SELECT", None, Exception("text"))) is Failure.REFUSED
