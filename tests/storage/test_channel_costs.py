"""What channels cost in statements: the same for one write and for many, and nothing without channels."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from typing import Any

import pytest

from edda.ids import derived_key
from edda.storage.dialects.base import Attempt
from edda.storage.records import Lease
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.writes import RollbackBegun, RunReleased, WaitsEnded, Write
from edda.types import ChannelMode
from tests.storage.batches import apply_batch
from tests.support.messages import (
    BROADCAST,
    COMPETING,
    asleep,
    message,
    receiving,
    subscription,
    taking,
    unsubscription,
)
from tests.support.statements import counted
from tests.support.writes import finished, lease, leased

Make = Callable[[Lease, str], Write[Any]]

# Of a run and a channel to which it is subscribed, and on which there is a message.
KINDS: dict[str, Make] = {
    "published": lambda held, channel: message(channel),
    "published with a key": lambda held, channel: message(channel, key=derived_key("m", channel)),
    "sent": lambda held, channel: message(channel, target=held.instance_id),
    "sent directly": lambda held, channel: message(channel, target=held.instance_id, direct=True),
    "taken": taking,
    "not found": lambda held, channel: taking(held, f"{channel}-empty"),
    "timed out": lambda held, channel: taking(held, f"{channel}-empty", timeout_data="{}"),
    "subscribed": lambda held, channel: subscription(held, f"{channel}-known"),
    "subscribed as a step": lambda held, channel: subscription(held, channel, activity_id="s:1"),
    "unsubscribed": unsubscription,
    "parked": lambda held, channel: asleep(held, receiving(f"{channel}-empty")),
    "parked with a message": lambda held, channel: asleep(held, receiving(channel)),
    "finished": lambda held, channel: finished(held, subscriber=held.instance_id),
    "set aside": lambda held, channel: RunReleased(held, 1.0, "trouble", subscriber=held.instance_id),
    "rolled back": lambda held, channel: RollbackBegun(held, "{}", subscriber=held.instance_id),
    "given up": lambda held, channel: WaitsEnded(held, ("receive:1",), channels=(channel,)),
}


def _cost(texts: list[str]) -> int:
    """How many statements: on SQLite a question is asked for each row, in the process itself."""
    return len([text for text, _ in groupby(texts)])


async def _prepared(storage: SQLAlchemyStorage, mode: ChannelMode, count: int) -> list[tuple[Lease, str]]:
    """So many runs, each subscribed to channels of its own."""
    runs = [(lease(), f"news-{mode}-{count}-{number}") for number in range(count)]
    await apply_batch(storage, Attempt.FIRST, *(leased(held) for held, _ in runs))
    for suffix in ("", "-empty"):
        names = [(held, channel + suffix) for held, channel in runs]
        await apply_batch(storage, Attempt.FIRST, *(subscription(held, name, mode) for held, name in names))
    messages: list[Write[Any]] = []
    for held, channel in runs:
        messages += [message(channel), message(f"{channel}-known")]
        messages.append(message(channel, target=held.instance_id, direct=True))
    await apply_batch(storage, Attempt.FIRST, *messages)
    return runs


@pytest.mark.parametrize(
    ("kind", "mode", "cost"),
    [
        ("published", BROADCAST, 4),
        ("published", COMPETING, 4),
        ("published with a key", BROADCAST, 5),
        ("sent", BROADCAST, 5),
        ("sent directly", BROADCAST, 5),
        ("taken", BROADCAST, 5),
        ("taken", COMPETING, 6),
        ("not found", BROADCAST, 2),
        ("not found", COMPETING, 3),
        ("timed out", BROADCAST, 4),
        ("subscribed", BROADCAST, 5),
        ("subscribed as a step", BROADCAST, 5),
        ("unsubscribed", BROADCAST, 4),
        ("parked", BROADCAST, 6),
        ("parked", COMPETING, 6),
        ("parked with a message", BROADCAST, 7),
        ("finished", BROADCAST, 4),
        ("finished", COMPETING, 6),
        ("set aside", BROADCAST, 2),
        ("set aside", COMPETING, 4),
        ("rolled back", BROADCAST, 3),
        ("rolled back", COMPETING, 5),
        ("given up", BROADCAST, 3),
        ("given up", COMPETING, 4),
    ],
)
async def test_one_write_costs_as_many_statements_as_many(
    storage: SQLAlchemyStorage, kind: str, mode: ChannelMode, cost: int
) -> None:
    for count in (1, 40):
        runs = await _prepared(storage, mode, count)
        writes = [KINDS[kind](held, channel) for held, channel in runs]
        with counted() as seen:
            await apply_batch(storage, Attempt.FIRST, *writes)
        assert _cost(seen.texts) == cost, seen.texts


@pytest.mark.parametrize("mode", [BROADCAST, COMPETING])
async def test_a_publication_costs_the_same_however_many_wait(
    storage: SQLAlchemyStorage, mode: ChannelMode
) -> None:
    costs = []
    for waiting in (1, 30):
        runs = [lease() for _ in range(waiting)]
        channel = f"news-{waiting}"
        await apply_batch(storage, Attempt.FIRST, *(leased(held) for held in runs))
        await apply_batch(storage, Attempt.FIRST, *(subscription(held, channel, mode) for held in runs))
        await apply_batch(storage, Attempt.FIRST, *(asleep(held, receiving(channel)) for held in runs))
        with counted() as seen:
            await apply_batch(storage, Attempt.FIRST, message(channel))
        costs.append(len(seen.texts))
    assert costs == [5 if mode is BROADCAST else 6] * 2
