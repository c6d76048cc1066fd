from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import ColumnElement, Double, Text, literal, literal_column, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from edda import clock
from edda.storage.columns import Count, LongText, UTCDateTime
from edda.storage.dialects.base import Failure, Incoming, is_lost, with_texts_for_times
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage


async def value_of(storage: SQLAlchemyStorage, expression: object) -> object:
    async with storage.engine.connect() as connection:
        return await connection.scalar(select(expression))  # type: ignore[call-overload]


async def test_the_clock_of_the_database_is_utc(storage: SQLAlchemyStorage) -> None:
    now = await value_of(storage, storage.dialect.now())
    assert abs(now - clock.now()) < timedelta(seconds=60)  # type: ignore[operator]


async def test_seconds_lead_to_a_time_and_back(storage: SQLAlchemyStorage) -> None:
    dialect = storage.dialect
    for seconds in (0.25, 3600.5, -7.75, 3e9):
        expression = dialect.until(dialect.after(literal(seconds, Double())))
        assert await value_of(storage, expression) == pytest.approx(seconds, abs=0.05)


async def test_no_seconds_lead_to_no_time(storage: SQLAlchemyStorage) -> None:
    dialect = storage.dialect
    nothing: ColumnElement[float] = literal(None, Double())
    assert await value_of(storage, dialect.after(nothing)) is None
    assert await value_of(storage, dialect.until(dialect.after(nothing))) is None


async def test_membership_takes_any_number_of_values(storage: SQLAlchemyStorage) -> None:
    for ask in (storage.dialect.member, storage.dialect.among):
        query = select(literal(1)).where(ask(literal_column("'b'", Text()), "names"))
        for names, found in ([], None), (["a"], None), (["a", "b", "c"], 1):
            async with storage.engine.connect() as connection:
                assert await connection.scalar(query, {"names": names}) == found


@pytest.mark.parametrize("error", [ConnectionResetError(), TimeoutError(), PoolTimeoutError()])
async def test_a_lost_connection_is_unreachable_everywhere(
    storage: SQLAlchemyStorage, error: Exception
) -> None:
    assert is_lost(error)
    assert is_lost(DBAPIError("SELECT", None, Exception(), connection_invalidated=True))
    if storage.dialect.name != "sqlite":
        assert storage.dialect.classify(error) is Failure.UNREACHABLE


async def test_what_is_no_trouble_of_the_database_is_refused(storage: SQLAlchemyStorage) -> None:
    assert storage.dialect.classify(ValueError("no")) is Failure.REFUSED


def test_rows_that_come_one_by_one_are_no_table() -> None:
    with pytest.raises(TypeError, match="one by one"):
        _ = Incoming({}, {}).table


def test_times_become_texts_in_utc() -> None:
    incoming = Incoming({}, {"id": LongText, "at": UTCDateTime(), "n": Count})
    assert incoming.times == (1,)
    moment = clock.now().replace(year=2026, month=3, day=1, hour=2, minute=3, second=4, microsecond=5)
    rows = [("a", moment, 1), ("b", None, 2)]
    plain = [("a", "2026-03-01 02:03:04.000005", 1), ("b", None, 2)]
    assert with_texts_for_times(rows, incoming.times) == plain
    assert with_texts_for_times(rows, ()) is rows
