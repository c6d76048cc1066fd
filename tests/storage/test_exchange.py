"""What the writes of one batch do on channels, each seeing those before it."""

from __future__ import annotations

import asyncio

from edda.storage.dialects.base import Attempt
from edda.storage.message_writes import NoMessage, Published
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.writes import Parked, StepRecorded, Verdict
from edda.types import EventType
from tests.storage.batches import apply_batch
from tests.support.messages import (
    COMPETING,
    asleep,
    data_of,
    message,
    receiving,
    sleeper_of,
    subscriber_of,
    subscription,
    taking,
    unsubscription,
)
from tests.support.writes import claim_due, finished, run_of, step


async def test_a_batch_subscribes_then_publishes_then_takes_then_parks(storage: SQLAlchemyStorage) -> None:
    held, sleeper = await run_of(storage), await run_of(storage)
    answers = await apply_batch(
        storage,
        Attempt.FIRST,
        asleep(sleeper, receiving("news")),
        taking(held, "news"),
        message("news"),
        subscription(held, "news"),
        subscription(sleeper, "news"),
        taking(held, "news"),
    )
    assert answers[0] == Parked(0.0)
    assert data_of(answers[1]) == 1
    assert answers[2:] == [Published(False), Verdict.ACCEPTED, Verdict.ACCEPTED, NoMessage.NOTHING_THERE]


async def test_the_end_of_a_subscription_comes_before_the_messages(storage: SQLAlchemyStorage) -> None:
    held = await subscriber_of(storage, "news")
    writes = (message("news"), taking(held, "news"), unsubscription(held, "news"))
    answers = await apply_batch(storage, Attempt.FIRST, *writes)
    assert answers == [Published(False), NoMessage.NOT_SUBSCRIBED, Verdict.ACCEPTED]


async def test_what_ends_in_a_batch_leaves_what_others_took_alone(storage: SQLAlchemyStorage) -> None:
    """A message that was taken in the batch wakes nobody; one that is left does."""
    taker, ending = [await subscriber_of(storage, "jobs", COMPETING) for _ in range(2)]
    for _ in range(2):
        await sleeper_of(storage, "jobs", COMPETING)
    await apply_batch(
        storage,
        Attempt.FIRST,
        *(message("jobs", number) for number in range(2)),
        taking(taker, "jobs"),
        finished(ending, subscriber=ending.instance_id),
    )
    assert len(await storage.submit(claim_due())) == 1


async def test_answers_come_in_the_order_of_the_history(storage: SQLAlchemyStorage) -> None:
    """The outcomes of a run enter its body as they are answered, and in a replay as they are recorded."""
    held = await subscriber_of(storage, "news")
    await storage.submit(message("news"))
    answered: list[str] = []

    async def submit(write: object, step_id: str) -> None:
        await storage.submit(write)  # type: ignore[arg-type]
        answered.append(step_id)

    numbers = range(6)
    await asyncio.gather(
        submit(taking(held, "news", "receive:1"), "receive:1"),
        submit(subscription(held, "b", activity_id="subscribe:1"), "subscribe:1"),
        *(submit(step(held, f"pay:{number}"), f"pay:{number}") for number in numbers),
        submit(unsubscription(held, "b", activity_id="unsubscribe:1"), "unsubscribe:1"),
    )
    recorded = [record.activity_id for record in await storage.load_history(held.instance_id)]
    assert recorded == answered
    assert set(recorded[-3:]) == {"receive:1", "subscribe:1", "unsubscribe:1"}


async def test_a_step_with_a_message_meets_who_parks_in_the_same_batch(storage: SQLAlchemyStorage) -> None:
    sender, sleeper = await run_of(storage), await subscriber_of(storage, "news")
    sent = StepRecorded(sender, "publish:1", EventType.MESSAGE_PUBLISHED, "{}", effects=(message("news"),))
    answers = await apply_batch(storage, Attempt.FIRST, asleep(sleeper, receiving("news")), sent)
    assert answers == [Parked(0.0), Verdict.ACCEPTED]
