"""What a run knows of its own subscriptions."""

from __future__ import annotations

from typing import Any

from edda.storage.records import Subscription
from edda.subscriptions import Subscriptions
from edda.types import ChannelMode


class Storage:
    """Counts how often it is asked."""

    def __init__(self, *channels: str) -> None:
        self.asked = 0
        self._channels = channels

    async def load_subscriptions(self, subscriber: str) -> list[Subscription]:
        self.asked += 1
        return [Subscription(channel, ChannelMode.BROADCAST) for channel in self._channels]


def subscriptions(
    storage: Any, *, chain_id: str = "w-1", known: tuple[str, ...] | None = None
) -> Subscriptions:
    held = None if known is None else [Subscription(channel, ChannelMode.BROADCAST) for channel in known]
    return Subscriptions(storage, instance_id="w-1", chain_id=chain_id, known=held)


async def test_a_new_instance_needs_not_ask() -> None:
    storage = Storage()
    known = subscriptions(storage, known=())
    assert not known.used
    assert await known.stored_name("news") == "news"
    assert (known.used, storage.asked) == (True, 0)


async def test_what_came_with_the_history_needs_no_question() -> None:
    storage = Storage()
    known = subscriptions(storage, known=("news:w-1",))
    assert [await known.stored_name(name) for name in ("news", "other")] == ["news:w-1", "other"]
    assert storage.asked == 0


async def test_others_ask_once() -> None:
    storage = Storage("news:w-1")
    known = subscriptions(storage)
    assert [await known.stored_name(name) for name in ("news", "other")] == ["news:w-1", "other"]
    assert storage.asked == 1


async def test_a_direct_subscription_stands_for_the_short_name_until_it_ends() -> None:
    known = subscriptions(Storage(), known=())
    known.added([known.direct_name("news")])
    assert await known.stored_name("news") == "news:w-1"
    known.removed("news:w-1")
    assert await known.stored_name("news") == "news"


async def test_a_successor_may_have_subscriptions_and_goes_by_the_first_id() -> None:
    known = subscriptions(Storage(), chain_id="w-0")
    assert known.used
    assert known.own_name("news:w-1") == "news:w-0"
    assert known.own_name("news:w-9") == "news:w-9"
