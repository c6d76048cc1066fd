"""What one run is subscribed to, and under which name a channel is stored."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from edda.storage.protocol import ReaderPort
from edda.storage.records import Subscription
from edda.types import ChannelMode


class Subscriptions:
    """The subscriptions of a chain of recurs, ``known`` or read once, and followed from then on.

    Only the run that holds the lease changes them, so that they need no second look.
    """

    def __init__(
        self,
        storage: ReaderPort,
        *,
        instance_id: str,
        chain_id: str,
        known: Iterable[Subscription] | None = None,
    ) -> None:
        self.subscriber = chain_id
        self._storage = storage
        self._instance_id = instance_id
        self._channels = None if known is None else _modes(known)
        # What an earlier run was subscribed to, in a branch that lost a race, this one may not come to.
        self.used = chain_id != instance_id or self._channels != {}
        """Whether there may be any: the end of the instance is to remove them."""
        self.drained: set[str] = set()
        """Channels on which nothing was left when this run looked, as far as it has heard since."""

    @property
    def ending(self) -> str | None:
        """Whose subscriptions end with the instance; None when there never was one."""
        return self.subscriber if self.used else None

    async def stored_name(self, channel: str) -> str:
        """The name under which a receiver finds the channel: its direct one, if it subscribed to that."""
        self.used = True
        if self._channels is None:
            self._channels = _modes(await self._storage.load_subscriptions(self.subscriber))
        direct = self.direct_name(channel)
        return direct if direct in self._channels else self.own_name(channel)

    def direct_name(self, channel: str) -> str:
        """The channel of this name that belongs to this chain alone."""
        return f"{channel}:{self.subscriber}"

    def own_name(self, channel: str) -> str:
        """The channel, where its long name has the present id of the chain in it: with the first one."""
        short, colon, last = channel.rpartition(":")
        return self.direct_name(short) if colon and last == self._instance_id else channel

    def competes_for(self, channel: str) -> bool:
        """Whether others may take what comes on this stored name, as far as is known."""
        return (self._channels or {}).get(channel) is ChannelMode.COMPETING

    def added(self, channels: Collection[str], mode: ChannelMode | None = None) -> None:
        """These stored names are subscribed to now; without a ``mode`` in that in which they were."""
        self.used = True
        self.drained.difference_update(channels)
        if self._channels is not None:
            self._channels |= {name: mode or self._channels.get(name) for name in channels}

    def removed(self, channel: str) -> None:
        """This stored name is not subscribed to any more."""
        self.drained.discard(channel)
        if self._channels is not None:
            self._channels.pop(channel, None)


def _modes(subscriptions: Iterable[Subscription]) -> dict[str, ChannelMode | None]:
    return {subscription.channel: subscription.mode for subscription in subscriptions}
