from __future__ import annotations

import pytest

from edda.exceptions import LockNotAcquiredError, StorageError
from edda.storage.appending import Appended, RowAppended
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.types import EventType
from tests.support.writes import finished, parked, run_of, wait

COMPLETED = EventType.ACTIVITY_COMPLETED


async def test_a_row_is_added_to_an_instance_that_nobody_runs(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    await storage.submit(parked(held, wait()))
    await storage.append_history(held.instance_id, "note:1", COMPLETED, {"result": "é"})
    (row,) = await storage.get_history(held.instance_id)
    assert (row["activity_id"], row["event_data"]) == ("note:1", {"result": "é"})


async def test_an_expired_lease_and_an_end_hinder_nothing(storage: SQLAlchemyStorage) -> None:
    expired, ended = await run_of(storage, seconds=-1), await run_of(storage)
    await storage.submit(finished(ended))
    for held in (expired, ended):
        await storage.append_history(held.instance_id, "note:1", COMPLETED, None)
        assert len(await storage.load_history(held.instance_id)) == 1


async def test_a_running_instance_belongs_to_its_worker(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    with pytest.raises(LockNotAcquiredError, match=held.instance_id):
        await storage.append_history(held.instance_id, "note:1", COMPLETED, {})
    assert await storage.load_history(held.instance_id) == []


async def test_a_recorded_step_stands(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    await storage.submit(parked(held, wait()))
    await storage.append_history(held.instance_id, "note:1", COMPLETED, 1)
    for data in (1, 2):
        with pytest.raises(StorageError, match="note:1 is already recorded"):
            await storage.append_history(held.instance_id, "note:1", COMPLETED, data)
    assert [row["event_data"] for row in await storage.get_history(held.instance_id)] == [1]


async def test_an_unknown_instance_has_no_history(storage: SQLAlchemyStorage) -> None:
    with pytest.raises(StorageError, match="Unknown instance nobody"):
        await storage.append_history("nobody", "note:1", COMPLETED, {})


async def test_an_unknown_type_is_refused_before_anything_is_written(storage: SQLAlchemyStorage) -> None:
    with pytest.raises(ValueError, match="NoSuchType"):
        await storage.append_history("nobody", "note:1", "NoSuchType", {})


async def test_the_engine_can_tell_what_became_of_a_row(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    assert await storage.submit(RowAppended(held.instance_id, "a:1", COMPLETED, "{}")) is Appended.LEASED
