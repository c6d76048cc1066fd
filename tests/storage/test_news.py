"""What commits make known to the process that made them."""

from __future__ import annotations

import pytest

from edda.storage.news import News
from edda.storage.records import Lease
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.writes import EventsAccepted, InboxEvent, RunReleased
from edda.storage.writes_outbox import OutboxEventAdded
from tests.support.outbox import new_event
from tests.support.writes import lease, leased, run_of, step, unleased


@pytest.fixture
def heard(storage: SQLAlchemyStorage) -> list[News]:
    """What the storage has told since the test began."""
    heard: list[News] = []
    storage.listen(heard.append)
    return heard


async def test_an_instance_without_a_runner_is_news(storage: SQLAlchemyStorage, heard: list[News]) -> None:
    new = unleased()
    await storage.submit(new)
    assert heard == [News(due=True)]
    await storage.submit(new)
    await storage.submit(leased(lease()))
    assert heard == [News(due=True)], "an instance that was there, or has a runner, is none"


async def test_an_effect_of_a_step_is_news(storage: SQLAlchemyStorage, heard: list[News]) -> None:
    held = await run_of(storage)
    await storage.submit(step(held, effects=(unleased(),)))
    assert heard == [News(due=True)]


async def test_a_new_event_in_the_outbox_is_news(storage: SQLAlchemyStorage, heard: list[News]) -> None:
    held = await run_of(storage)
    await storage.submit(step(held, effects=(OutboxEventAdded(new_event()),)))
    assert heard == [News(outbox=True)]


async def test_a_lease_handed_back_is_news(storage: SQLAlchemyStorage, heard: list[News]) -> None:
    one, two = await run_of(storage), await run_of(storage)
    await storage.submit(RunReleased(one, delay=5.0, last_error="trouble"))
    await storage.submit(RunReleased(Lease(two.instance_id, "somebody", 1, 60.0)))
    assert heard == []
    await storage.submit(RunReleased(two))
    assert heard == [News(due=True)]


async def test_an_event_that_starts_something_is_news_once(
    storage: SQLAlchemyStorage, heard: list[News]
) -> None:
    accepted = EventsAccepted((InboxEvent("e" * 64, "s", "s", "1", "t"),), (unleased(),))
    await storage.submit(accepted)
    await storage.submit(accepted)
    assert heard == [News(due=True)]


async def test_a_transaction_of_the_user_tells_after_its_commit(
    storage: SQLAlchemyStorage, heard: list[News]
) -> None:
    transaction = storage.transaction()
    assert heard == []
    await transaction.commit([unleased()])
    assert heard == [News(due=True)]


async def test_nobody_hears_what_nobody_listens_to(storage: SQLAlchemyStorage, heard: list[News]) -> None:
    storage.listen(None)
    await storage.submit(unleased())
    assert heard == []
