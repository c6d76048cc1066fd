"""Events whose handlers gave up: what is found of them, and what another beginning leaves."""

from __future__ import annotations

from sqlalchemy import update

from edda.codec.json import dumps
from edda.storage.models import workflow_instances
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.writes import RunFinished, StepRecorded
from edda.types import EventType, Status
from tests.support.writes import claim_due, lease, leased, step


async def fail(storage: SQLAlchemyStorage, name: str, *, workflow: str = "tests.on_event") -> None:
    """An instance with one handler that succeeded and one that gave up."""
    event = dumps({"event": {"id": name}})
    held = lease(name)
    await storage.submit(leased(held, workflow_name=workflow, owner_service="tests", input_data=event))
    await storage.submit(step(held, "fine:1"))
    await storage.submit(StepRecorded(held, "broken:1", EventType.ACTIVITY_FAILED, '{"error_type":"E"}'))
    last = ("workflow_failed", EventType.WORKFLOW_FAILED, "{}")
    await storage.submit(RunFinished(held, Status.FAILED, '{"error_message":"no"}', *last))


async def test_a_dead_letter_shows_the_event_and_who_failed(storage: SQLAlchemyStorage) -> None:
    await fail(storage, "one")
    (letter,) = await storage.get_dead_letters()
    assert letter.pop("failed_at")
    assert letter == {
        "instance_id": "one",
        "owner_service": "tests",
        "event": {"id": "one"},
        "error": {"error_message": "no"},
        "failed_handlers": {"broken:1": {"error_type": "E"}},
    }


async def test_the_oldest_come_first_and_never_more_than_asked_for(storage: SQLAlchemyStorage) -> None:
    for name in ("one", "two", "three"):
        await fail(storage, name)
    assert [letter["instance_id"] for letter in await storage.get_dead_letters()] == ["one", "two", "three"]
    assert [letter["instance_id"] for letter in await storage.get_dead_letters(2)] == ["one", "two"]


async def test_only_the_failures_of_handlers_are_dead_letters(storage: SQLAlchemyStorage) -> None:
    await fail(storage, "workflow", workflow="order")
    await fail(storage, "other", workflow="others.on_event")
    assert await storage.get_dead_letters() == []
    for instance_id in ("workflow", "other", "unknown"):
        assert not await storage.requeue_dead_letter(instance_id)


async def test_a_requeued_one_is_due_without_the_rows_of_its_failure(storage: SQLAlchemyStorage) -> None:
    await fail(storage, "one")
    assert await storage.requeue_dead_letter("one")
    assert not await storage.requeue_dead_letter("one")
    assert await storage.get_dead_letters() == []
    assert [row.activity_id for row in await storage.load_history("one")] == ["fine:1"]
    (claimed,) = await storage.submit(claim_due(names=["tests.on_event"]))
    assert (claimed.lease.instance_id, claimed.lease.token, claimed.status) == ("one", 2, Status.RUNNING)
    record = await storage.load_instance("one")
    assert record is not None
    assert record.output_data is None


async def test_what_has_not_failed_is_left_alone(storage: SQLAlchemyStorage) -> None:
    await fail(storage, "one")
    async with storage.engine.begin() as connection:
        await connection.execute(update(workflow_instances).values(status="completed"))
    assert not await storage.requeue_dead_letter("one")
    assert len(await storage.load_history("one")) == 3
