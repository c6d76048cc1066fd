"""The random operations of the oracle: mostly such that take effect, some that are refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
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
from edda.storage.records import Lease
from edda.storage.upkeep_writes import InstancesPurged
from edda.storage.writes import (
    CancelRequested,
    EventsAccepted,
    InboxEvent,
    InboxPurged,
    InstanceClaimed,
    InstancesClaimed,
    LeasesRenewed,
    NewInstance,
    NewWait,
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
    OutboxPurged,
)
from edda.types import ChannelMode, EventType, Status, WaitKind
from tests.proof.oracle_chooser import CHANNELS, RARE, WORKERS, Chooser
from tests.proof.oracle_relaying import (
    leadership,
    mark,
    new_outbox_event,
    outbox_lease,
    requeueing,
    resignation,
)
from tests.proof.oracle_world import HOUR, Instance

WORKFLOWS = ("order", "Order")
AT = datetime(2026, 1, 1, tzinfo=UTC)
_FEW = 4
_ALL = 10_000
_STEPS = (
    EventType.ACTIVITY_COMPLETED,
    EventType.COMPENSATION_REGISTERED,
    EventType.COMPENSATION_EXECUTED,
    EventType.COMPENSATION_FAILED,
)
_ENDS = (Status.COMPLETED, Status.FAILED, Status.CANCELLED)


# -- instances -------------------------------------------------------------------------------------


def new_instance(choose: Chooser) -> NewInstance:
    known = list(choose.world.instances)
    instance_id = choose.of(known) if known and choose.once_in(10) else choose.name("i")
    lease = None if choose.once_in(3) else Lease(instance_id, choose.of(WORKERS), 1, choose.seconds())
    timeout = 0.5 * HOUR if choose.once_in(_FEW) else None
    return NewInstance(
        instance_id, choose.of(WORKFLOWS), "hash", "shop", "{}", lock_timeout_seconds=timeout, lease=lease
    )


def run_from_the_beginning(instance_id: str) -> NewInstance:
    """An instance that is leased for the better part of a day."""
    lease = Lease(instance_id, WORKERS[0], 1, 12.5 * HOUR)
    return NewInstance(instance_id, WORKFLOWS[0], "hash", "shop", "{}", lease=lease)


def step(choose: Chooser) -> StepRecorded | None:
    if (lease := choose.lease()) is None:
        return None
    kind = EventType.PIVOT_PASSED if choose.once_in(RARE) else choose.of(_STEPS)
    data = choose.of(('{"result":1}', '{"result":2}'))
    return StepRecorded(lease, choose.step(lease), kind, data, choose.once_in(2), _effects(choose, lease))


def _effects(choose: Chooser, lease: Lease) -> tuple[Write[Any], ...]:
    if not choose.once_in(_FEW):
        return ()
    inner = StepRecorded(lease, choose.name("inner"), EventType.ACTIVITY_COMPLETED, "{}")
    child = NewInstance(choose.name("i"), choose.of(WORKFLOWS), "hash", "shop", "{}")
    return choose.of(((inner, publish(choose)), (new_outbox_event(choose),), (child, inner)))


def row(choose: Chooser) -> RowAppended | None:
    free = [one for one in choose.world.instances.values() if one.owner is None]
    ended = [one for one in free if one.status in _ENDS[1:]]
    one = choose.instance(None if choose.once_in(_FEW) else ended or free)
    if one is None:
        return None
    step = choose.of([*one.history, choose.name("row")])
    return RowAppended(one.instance_id, step, EventType.COMPENSATION_FAILED, "{}")


def _waits(choose: Chooser, lease: Lease) -> tuple[NewWait, ...]:
    run = choose.run_of(lease)
    known = list(run.waits) if run is not None else []
    step = choose.of(known) if known and choose.once_in(3) else choose.name("wait")
    seconds = choose.seconds() if choose.once_in(2) else None
    timer = NewWait(step, WaitKind.TIMER, seconds, data=choose.name("data"), replace=choose.once_in(2))
    channels = [] if choose.once_in(3) else [choose.channel_of(lease)]
    messages = [NewWait(choose.name("wait"), WaitKind.MESSAGE, None, channel=name) for name in channels]
    return (*messages, timer) if choose.once_in(2) or not messages else tuple(messages)


def waits(choose: Chooser) -> WaitsRegistered | None:
    lease = choose.lease()
    return None if lease is None else WaitsRegistered(lease, _waits(choose, lease))


def end_of_waits(choose: Chooser) -> WaitsEnded | None:
    lease = choose.lease(lambda one: bool(one.waits))
    if lease is None:
        return None
    run = choose.run_of(lease)
    step = choose.of([*run.waits, "none"] if run is not None else ["none"])
    wait = None if run is None else run.waits.get(step)
    return WaitsEnded(lease, (step,), () if wait is None or wait.channel is None else (wait.channel,))


def park(choose: Chooser) -> RunParked | None:
    if (lease := choose.lease()) is None:
        return None
    run, new = choose.run_of(lease), _waits(choose, lease)
    rolls_back = run is not None and run.status is Status.COMPENSATING
    messages = any(wait.channel for wait in new)
    status = Status.WAITING_FOR_MESSAGE if messages else Status.WAITING_FOR_TIMER
    take = None
    if len(new) == 1 and (channel := new[0].channel) is not None and not rolls_back and choose.once_in(2):
        take = MessageTaken(lease, choose.chain(lease), new[0].activity_id, channel, channel)
    return RunParked(lease, Status.COMPENSATING if rolls_back else status, new[0].activity_id, new, take)


def resume(choose: Chooser) -> RunResumed | None:
    """A run that waits goes on, mostly as it parked; under a channel that it waits for, if there is one."""
    waiting = [one for one in choose.world.instances.values() if one.is_parked]
    one = choose.instance(waiting)
    if one is None:
        return None
    token = one.token if choose.once_in(RARE) else one.token + 1
    lease = Lease(one.instance_id, choose.of(WORKERS), token, choose.seconds())
    waits = [(step, wait.channel) for step, wait in one.waits.items() if wait.channel is not None]
    step, channel = choose.of(waits or [(choose.name("step"), choose.of(CHANNELS))])
    return RunResumed(MessageTaken(lease, one.chain, step, channel, channel))


def _last_row(choose: Chooser) -> dict[str, Any]:
    row = {"activity_id": "last", "event_type": EventType.WORKFLOW_FAILED, "event_data": "{}"}
    return row if choose.once_in(2) else {}


def end(choose: Chooser) -> RunFinished | None:
    if (
        lease := choose.lease(lambda one: any("Failed" in kind for _, kind, _ in one.history.values()))
    ) is None:
        return None
    subscriber = choose.chain(lease) if choose.once_in(2) else None
    status = choose.of((*_ENDS, *_ENDS[1:]))
    return RunFinished(lease, status, '"output"', subscriber=subscriber, **_last_row(choose))


def rollback(choose: Chooser) -> RollbackBegun | None:
    if (lease := choose.lease(lambda one: one.status is not Status.COMPENSATING)) is None:
        return None
    subscriber = choose.chain(lease) if choose.once_in(2) else None
    return RollbackBegun(lease, '"why"', subscriber=subscriber, **_last_row(choose))


def recur(choose: Chooser) -> RunRecurred | None:
    if (lease := choose.lease()) is None:
        return None
    successor = choose.name("i")
    new = NewInstance(successor, choose.of(WORKFLOWS), "hash", "shop", "{}")
    own = Lease(successor, lease.owner, 1, choose.seconds())
    chain = choose.chain(lease)
    return RunRecurred(lease, "{}", replace(new, lease=own, continued_from=lease.instance_id, chain_id=chain))


def release(choose: Chooser) -> RunReleased | None:
    if (lease := choose.lease()) is None:
        return None
    delay = 0.0 if choose.once_in(2) else choose.seconds()
    error = "it broke" if choose.once_in(2) else None
    return RunReleased(lease, delay, error, choose.chain(lease) if choose.once_in(2) else None)


def renewal(choose: Chooser) -> LeasesRenewed | None:
    leases = [choose.lease() for _ in range(choose.chance.randint(1, 3))]
    return LeasesRenewed(
        tuple(replace(each, seconds=choose.seconds()) for each in leases if each is not None)
    )


# -- claims, and what ends or begins anew whatever is run ----------------------------------------------


def claim_due(choose: Chooser) -> InstancesClaimed:
    names = choose.of((WORKFLOWS, WORKFLOWS[:1]))
    return InstancesClaimed(choose.of(WORKERS), names, choose.chance.randint(1, 5), choose.seconds())


def claim(choose: Chooser) -> InstanceClaimed | None:
    if (one := choose.instance()) is None:
        return None
    expected = choose.of((one.token, one.token - 1)) if choose.once_in(3) else None
    return InstanceClaimed(choose.of(WORKERS), one.instance_id, choose.seconds(), expected)


def cancel(choose: Chooser) -> CancelRequested | None:
    live = [one for one in choose.world.instances.values() if one.is_live]
    behind = [one for one in live if EventType.PIVOT_PASSED in (kind for _, kind, _ in one.history.values())]
    options = behind or live
    one = choose.instance(None if choose.once_in(RARE) else options)
    if one is None:
        return None
    return CancelRequested(choose.of(WORKERS), one.instance_id, choose.seconds(), "somebody", AT)


def reopening(choose: Chooser) -> RollbackReopened | None:
    ended = [
        one
        for one in choose.world.instances.values()
        if one.status in _ENDS[1:] and any("Failed" in kind for _, kind, _ in one.history.values())
    ]
    one = choose.instance(ended) or choose.instance()
    return None if one is None else RollbackReopened(choose.of(WORKERS), one.instance_id, choose.seconds())


# -- channels ------------------------------------------------------------------------------------------


def subscribe(choose: Chooser) -> Subscribed | None:
    if (lease := choose.lease()) is None:
        return None
    channel = choose.of(CHANNELS)
    modes = {"news": (ChannelMode.BROADCAST,), "jobs": (ChannelMode.COMPETING,)}
    mode = choose.of(modes.get(channel, tuple(ChannelMode)))
    step = choose.step(lease) if choose.once_in(2) else None
    return Subscribed(lease, choose.chain(lease), channel, mode, step)


def unsubscribe(choose: Chooser) -> Unsubscribed | None:
    if (lease := choose.lease()) is None:
        return None
    step = choose.step(lease) if choose.once_in(2) else None
    return Unsubscribed(lease, choose.chain(lease), choose.channel_of(lease), step)


def publish(choose: Chooser) -> MessagePublished:
    message_id = choose.name("message")
    key = choose.of([*choose.world.inbox, _key(choose.name("key"))][-3:]) if choose.once_in(_FEW) else None
    message = MessagePublished(message_id, choose.of(CHANNELS), f'"{message_id}"', "{}", key=key)
    ids = [*choose.world.instances, "nobody"]
    match choose.chance.randint(1, 4):
        case 1:
            return replace(message, target=choose.of(ids), direct=True, channel="post")
        case 2:
            return replace(message, target=choose.of(ids))
        case _:
            return message


def take(choose: Chooser) -> MessageTaken | None:
    def has_something(one: Instance) -> bool:
        names = {*CHANNELS, f"post:{one.chain}"}
        return any(
            choose.world.own(name, one.chain) or choose.world.unread(name, one.chain) for name in names
        )

    if (lease := choose.lease(has_something)) is None:
        return None
    chain = choose.chain(lease)
    full = [
        n for n in choose.channels_of(lease) if choose.world.own(n, chain) or choose.world.unread(n, chain)
    ]
    channel = choose.channel_of(lease) if not full or choose.once_in(_FEW) else choose.of(full)
    timeout = "{}" if choose.once_in(3) else None
    # A step that subscribes has not been taken yet: nobody repeats it under a lease that is good.
    subscribes = choose.once_in(3)
    step = choose.name("step") if subscribes else choose.step(lease)
    return MessageTaken(lease, chain, step, channel, channel, subscribes, timeout)


def park_unless(choose: Chooser) -> RunParked | None:
    """A run that is about to park where mostly a message is there."""
    found = take(choose)
    if found is None or (run := choose.run_of(found.lease)) is None or run.status is Status.COMPENSATING:
        return None
    step = choose.name("wait")
    message = replace(found, activity_id=step, subscribe=False, timeout_data=None)
    wait = NewWait(step, WaitKind.MESSAGE, None, channel=found.channel)
    return RunParked(found.lease, Status.WAITING_FOR_MESSAGE, step, (wait,), message)


def _key(name: str) -> str:
    """As long as a digest: PostgreSQL would fill it up."""
    return name.ljust(64, ".")


def event(choose: Chooser) -> EventsAccepted:
    number, service = choose.chance.randint(1, 12), choose.of(("shop", "bank"))
    message = replace(publish(choose), key=None)
    accepted = InboxEvent(
        _key(f"{service}-{number}"),
        service,
        "/s",
        str(number),
        "order",
        _key(f"publication-{number}"),
        message,
    )
    new = NewInstance(f"i-{service}-{number}", choose.of(WORKFLOWS), "hash", service, "{}")
    return EventsAccepted((accepted,), (new,))


# -- retention -----------------------------------------------------------------------------------------------


def retention(choose: Chooser) -> Write[Any]:
    age = choose.of((0.5, 0.5, 2.5)) * HOUR
    return choose.of(
        (
            InstancesPurged(age, _ALL, _ALL),
            InboxPurged(age, _ALL),
            MessagesPurged(age, _ALL),
            ChannelsPurged(_ALL),
            OutboxPurged(age, _ALL),
            OutboxPurged(age, _ALL),
        )
    )


Maker = Callable[[Chooser], Write[Any] | None]

# Those that come more than once prepare what others need.
OF_RUNS: tuple[Maker, ...] = (
    *(new_instance, *(step,) * 9, *(row,) * 3, waits, end_of_waits, *(park,) * 3),
    *(*(end,) * 3, *(rollback,) * 3, recur, *(release,) * 2, renewal, *(subscribe,) * 3),
    *(*(unsubscribe,) * 3, *(publish,) * 4, *(take,) * 5, *(event,) * 2, *(new_outbox_event,) * 2),
)
OF_OTHERS: tuple[Maker, ...] = (
    *(*(claim_due,) * 2, *(claim,) * 3, *(cancel,) * 4, *(reopening,) * 9),
    *(*(mark,) * 2, outbox_lease, requeueing, *(leadership,) * 2, resignation),
)
OF_RECEIVERS: tuple[Maker, ...] = (
    *(subscribe, unsubscribe, publish, publish, publish, take, take, take, take, waits, park, park),
    *(park_unless, resume, resume, resume),
)
OF_RELAYERS: tuple[Maker, ...] = (
    *(new_outbox_event, new_outbox_event, outbox_lease, outbox_lease, *(mark,) * 5, requeueing, requeueing),
)
OF_UPKEEP: tuple[Maker, ...] = (lambda _: BrokerReturned(), retention, retention, retention)
