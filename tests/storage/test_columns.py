from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, delete, insert, select
from sqlalchemy.exc import StatementError

from edda.storage.columns import UTCDateTime
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage

TIMES = Table("times", MetaData(), Column("id", Integer, primary_key=True), Column("at", UTCDateTime))
MOMENT = datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=UTC)


@pytest.mark.parametrize("zone", [UTC, ZoneInfo("America/New_York"), timezone(timedelta(hours=5.5))])
async def test_a_time_of_any_zone_comes_back_in_utc(storage: SQLAlchemyStorage, zone: tzinfo) -> None:
    async with storage.gate, storage.engine.begin() as connection:
        await connection.run_sync(TIMES.create)
        await connection.execute(insert(TIMES).values(id=1, at=MOMENT.astimezone(zone)))
    async with storage.engine.connect() as connection:
        stored = await connection.scalar(select(TIMES.c.at))
    assert stored == MOMENT
    assert stored.tzinfo is UTC


async def test_no_time_comes_back_as_none(storage: SQLAlchemyStorage) -> None:
    async with storage.gate, storage.engine.begin() as connection:
        await connection.run_sync(TIMES.create)
        await connection.execute(insert(TIMES).values(id=1, at=None))
        assert await connection.scalar(select(TIMES.c.at)) is None
        await connection.execute(delete(TIMES))


async def test_a_time_without_a_zone_is_refused(storage: SQLAlchemyStorage) -> None:
    async with storage.engine.connect() as connection:
        with pytest.raises(StatementError, match="a time without zone cannot be stored"):
            await connection.execute(select(TIMES).where(TIMES.c.at == MOMENT.replace(tzinfo=None)))
