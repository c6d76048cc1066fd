"""Short ways to make the writes about channels, and to read what was taken."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

from sqlalchemy import select, update

from edda import clock
from edda.storage.message_writes import (
    MessagePublished,
    MessageTaken,
    RunResumed,
    Subscribed,
    TakeAnswer,
    Taken,
    Unsubscribed,
)
from edda.storage.models import workflow_messages
from edda.storage.protocol import WriterPort
from edda.storage.records import Lease
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.writes import NewWait, Parked, RunParked, Verdict
from edda.types import ChannelMode, Status, WaitKind
from tests.support.writes import run_of

BROADCAST, COMPETING = ChannelMode.BROADCAST, ChannelMode.COMPETING

_numbers = itertools.count(1)


def message(channel: str, data: Any = 1, **fields: Any) -> MessagePublished:
    """A message with an id of its own."""
    return MessagePublished(f"message-{next(_numbers)}", channel, json.dumps(data), "{}", **fields)


def subscription(
    held: Lease, channel: str, mode: ChannelMode = BROADCAST, *, subscriber: str | None = None, **fields: Any
) -> Subscribed:
    return Subscribed(held, subscriber or held.instance_id, channel, mode, **fields)


def unsubscription(
    held: Lease, channel: str, *, subscriber: str | None = None, **fields: Any
) -> Unsubscribed:
    return Unsubscribed(held, subscriber or held.instance_id, channel, **fields)


def taking(
    held: Lease, channel: str, step: str | None = None, *, subscriber: str | None = None, **fields: Any
) -> MessageTaken:
    """A take under a step of its own, unless one is given."""
    step_id = step or f"receive:{next(_numbers)}"
    return MessageTaken(held, subscriber or held.instance_id, step_id, channel, channel, **fields)


def resuming(
    parked: Lease, channel: str, step: str = "receive:1", *, owner: str | None = None, **fields: Any
) -> RunResumed:
    """The run that parked under this lease goes on with a message."""
    held = replace(parked, token=parked.token + 1, owner=owner or parked.owner)
    return RunResumed(taking(held, channel, step, **fields))


def receiving(
    channel: str, activity_id: str = "receive:1", seconds: float | None = None, **fields: Any
) -> NewWait:
    return NewWait(activity_id, WaitKind.MESSAGE, seconds, channel=channel, **fields)


def asleep(held: Lease, *waits: NewWait) -> RunParked:
    """A run that waits for messages, and maybe for something else."""
    return RunParked(held, Status.WAITING_FOR_MESSAGE, waits[0].activity_id, waits)


async def subscriber_of(
    storage: WriterPort, channel: str, mode: ChannelMode = BROADCAST, **fields: Any
) -> Lease:
    """A run that is subscribed to the channel."""
    held = await run_of(storage, **fields)
    assert await storage.submit(subscription(held, channel, mode)) is Verdict.ACCEPTED
    return held


async def sleeper_of(
    storage: WriterPort, channel: str, mode: ChannelMode = BROADCAST, **fields: Any
) -> Lease:
    """A run that is subscribed to the channel and has parked on it, with nothing to take."""
    held = await subscriber_of(storage, channel, mode, **fields)
    assert await storage.submit(asleep(held, receiving(channel))) == Parked(None)
    return held


def data_of(answer: TakeAnswer) -> Any:
    """What the message says that was taken."""
    assert isinstance(answer, Taken), answer
    return json.loads(answer.event_data)["data"]


async def take_all(storage: WriterPort, held: Lease, channel: str) -> list[Any]:
    """Take messages until there is none."""
    found: list[Any] = []
    while isinstance(answer := await storage.submit(taking(held, channel)), Taken):
        found.append(data_of(answer))
    return found


async def age(storage: SQLAlchemyStorage, channel: str, seconds: float) -> None:
    """Have the messages of a channel been published so long ago."""
    published_at = clock.now() - timedelta(seconds=seconds)
    rows = update(workflow_messages).where(workflow_messages.c.channel == channel)
    transaction = storage.transaction()
    await transaction.session.execute(rows.values(published_at=published_at))
    await transaction.commit([])


async def channels_with_messages(storage: SQLAlchemyStorage) -> list[str]:
    """The channels of the messages that are there, one of each message, in order."""
    names = select(workflow_messages.c.channel).order_by(workflow_messages.c.channel)
    async with storage.engine.connect() as connection:
        return list(await connection.scalars(names))
