from __future__ import annotations

from datetime import datetime

from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.types import Status
from tests.support.writes import OWNER, WORKFLOW, finished, run_of, step


async def test_an_instance_is_shown_as_a_plain_dict(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage, input_data='{"n":[1,null]}', lock_timeout_seconds=300)
    shown = await storage.get_instance(held.instance_id)
    assert shown is not None
    times = {key: shown.pop(key) for key in ("started_at", "updated_at", "locked_at", "due_at")}
    assert shown == {
        "instance_id": held.instance_id,
        "workflow_name": WORKFLOW,
        "source_hash": "hash",
        "owner_service": "shop",
        "status": "running",
        "current_activity_id": None,
        "continued_from": None,
        "input_data": {"n": [1, None]},
        "source_code": None,
        "output_data": None,
        "locked_by": OWNER,
        "lock_timeout_seconds": 300,
        "attempts": 0,
        "last_error": None,
    }
    assert isinstance(shown["lock_timeout_seconds"], int)
    for time in times.values():
        assert isinstance(time, str)
        assert time.endswith("+00:00")
        assert datetime.fromisoformat(time).utcoffset() is not None


async def test_fractions_of_seconds_are_shown(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage, lock_timeout_seconds=0.5)
    shown = await storage.get_instance(held.instance_id)
    assert shown is not None
    assert shown["lock_timeout_seconds"] == 0.5


async def test_the_output_is_shown_parsed(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    await storage.submit(finished(held, Status.COMPLETED))
    shown = await storage.get_instance(held.instance_id)
    assert shown is not None
    assert (shown["status"], shown["output_data"], shown["locked_at"]) == ("completed", {"result": 1}, None)


async def test_the_history_is_shown_as_plain_dicts(storage: SQLAlchemyStorage) -> None:
    held = await run_of(storage)
    await storage.submit(step(held, "pay:1", '{"result":{"ok":true}}'))
    (row,) = await storage.get_history(held.instance_id)
    assert isinstance(row.pop("id"), int)
    assert str(row.pop("created_at")).endswith("+00:00")
    assert row == {
        "instance_id": held.instance_id,
        "activity_id": "pay:1",
        "event_type": "ActivityCompleted",
        "event_data": {"result": {"ok": True}},
    }
