"""The oracle: what the writes of a batch are answered, and what is there behind them.

The writes follow one another in the order that the storage promises: what makes rows before
what looks for them, claims last. What each of them does is in the modules beside this one.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from edda.storage.appending import RowAppended
from edda.storage.message_writes import (
    ChannelsPurged,
    MessagePublished,
    MessagesPurged,
    MessageTaken,
    RunResumed,
    Subscribed,
    Unsubscribed,
)
from edda.storage.upkeep_writes import InstancesPurged, LeadershipClaimed, LeadershipResigned
from edda.storage.writes import (
    CancelRequested,
    EventsAccepted,
    InboxPurged,
    InstanceClaimed,
    InstancesClaimed,
    LeasesRenewed,
    NewInstance,
    RollbackBegun,
    RollbackReopened,
    RunFinished,
    RunParked,
    RunRecurred,
    RunReleased,
    StepRecorded,
    WaitsEnded,
    WaitsRegistered,
    Write,
)
from edda.storage.writes_outbox import (
    BrokerReturned,
    OutboxEventAdded,
    OutboxLeased,
    OutboxMarked,
    OutboxPurged,
    OutboxRequeued,
)
from tests.proof import oracle_channels, oracle_instances, oracle_outbox
from tests.proof.oracle_world import TICK, World

_HANDLERS = oracle_instances.HANDLERS | oracle_channels.HANDLERS | oracle_outbox.HANDLERS
_BEFORE_STEPS = (NewInstance, WaitsRegistered)
_UP_TO_CHANNELS = (
    OutboxEventAdded,
    OutboxRequeued,
    WaitsEnded,
    RowAppended,
    RollbackBegun,
    Subscribed,
    Unsubscribed,
    MessagePublished,
    MessageTaken,
    RunResumed,
    RunParked,
    RunFinished,
    RunRecurred,
    RunReleased,
)
_LAST = (
    LeasesRenewed,
    CancelRequested,
    RollbackReopened,
    InstanceClaimed,
    InstancesClaimed,
    OutboxPurged,
    OutboxMarked,
    BrokerReturned,
    OutboxLeased,
    LeadershipClaimed,
    LeadershipResigned,
    InboxPurged,
    InstancesPurged,
    MessagesPurged,
    ChannelsPurged,
)

Entry = tuple[int, Any]
"""A place in the batch and the write there; -1 for an effect, whose answer nobody is told."""


class Model:
    """The world, and the way in for writes."""

    def __init__(self, done: Counter[str]) -> None:
        self.world = World(done)

    def apply(self, writes: Sequence[Write[Any]], told: Sequence[Any]) -> list[Any]:
        """What these writes have to be answered; ``told`` is looked at where the database may choose."""
        world = self.world
        world.now += TICK
        self._told = told
        groups: dict[type[Write[Any]], list[Entry]] = defaultdict(list)
        for entry in enumerate(writes):
            groups[type(entry[1])].append(entry)
        answers: dict[int, Any] = {}
        effects: list[Write[Any]] = []
        for place, write in groups[EventsAccepted]:
            answers[place], messages = oracle_channels.accept(world, write)
            effects += messages
        self._run(_BEFORE_STEPS, groups, answers)
        for place, write in groups[StepRecorded]:
            answers[place], more = oracle_instances.record(world, write)
            effects += more
        for effect in effects:
            if isinstance(effect, NewInstance):
                oracle_instances.create(world, effect)
            else:
                groups[type(effect)].append((-1, effect))
        # Whoever is about to park looks first, before anybody of the batch does park.
        groups[RunParked].sort(key=lambda entry: entry[1].message is None)
        self._run(_UP_TO_CHANNELS, groups, answers)
        world.close_channels()
        # Claims that differ only in their limits are served together, at the place of the first of them.
        claims = groups.pop(InstancesClaimed, [])
        kinds = [replace(write, limit=0) for _, write in claims]
        for place, write in sorted(claims, key=lambda entry: kinds.index(replace(entry[1], limit=0))):
            self._run(_LAST[: _LAST.index(InstancesClaimed)], groups, answers)
            answers[place] = oracle_instances.claim_due(world, write, told[place])
        self._run(_LAST, groups, answers)
        return [answers[place] for place in range(len(writes))]

    def _run(
        self, kinds: Sequence[Any], groups: dict[type[Write[Any]], list[Entry]], answers: dict[int, Any]
    ) -> None:
        for kind in kinds:
            for place, write in groups.pop(kind, ()):
                if kind is OutboxLeased:
                    answers[place] = oracle_outbox.lease(self.world, write, self._told[place])
                else:
                    answers[place] = _HANDLERS[kind](self.world, write)
