from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, insert, select
from sqlalchemy.exc import StatementError

from edda.storage.columns import UTCDateTime
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage

TIMES = Table("times", MetaData(), Column("id", Integer, primary_key=True), Column("at", UTCDateTime))
MOMENT = datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=UTC)


@pytest.fixture
async def table(storage: SQLAlchemyStorage) -> AsyncIterator[None]:
    async with storage.gate, storage.engine.begin() as connection:
        await connection.run_sync(TIMES.create)
    yield
    async with storage.gate, storage.engine.begin() as connection:
        await connection.run_sync(TIMES.drop)


async def stored(storage: SQLAlchemyStorage, moment: datetime | None) -> datetime | None:
    """The time as it comes back from the database."""
    async with storage.gate, storage.engine.begin() as connection:
        await connection.execute(insert(TIMES).values(id=1, at=moment))
    async with storage.engine.connect() as connection:
        result: datetime | None = await connection.scalar(select(TIMES.c.at))
    return result


@pytest.mark.parametrize("zone", [UTC, ZoneInfo("America/New_York"), timezone(timedelta(hours=5.5))])
@pytest.mark.usefixtures("table")
async def test_a_time_of_any_zone_comes_back_in_utc(storage: SQLAlchemyStorage, zone: tzinfo) -> None:
    moment = await stored(storage, MOMENT.astimezone(zone))
    assert moment == MOMENT
    assert moment.tzinfo is UTC


@pytest.mark.usefixtures("table")
async def test_no_time_comes_back_as_none(storage: SQLAlchemyStorage) -> None:
    assert await stored(storage, None) is None


async def test_a_time_without_a_zone_is_refused(storage: SQLAlchemyStorage) -> None:
    async with storage.engine.connect() as connection:
        with pytest.raises(StatementError, match="a time without zone cannot be stored"):
            await connection.execute(select(TIMES).where(TIMES.c.at == MOMENT.replace(tzinfo=None)))
