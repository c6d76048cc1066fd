"""The model of the oracle: channels, messages, subscriptions and accepted events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edda.storage.message_writes import (
    ChannelsPurged,
    MessagePublished,
    MessagesPurged,
    MessageTaken,
    ModeConflict,
    NoMessage,
    Published,
    RunResumed,
    Subscribed,
    Unsubscribed,
)
from edda.storage.writes import EventsAccepted, InboxPurged, RunParked, Verdict, Write
from edda.types import ChannelMode, EventType, Status
from tests.proof import oracle_instances
from tests.proof.oracle_instances import create
from tests.proof.oracle_world import Either, Instance, Message, Subscription, World


def subscribe(world: World, write: Subscribed) -> Any:
    name = world.stored_name(write.channel)
    world.lock(name)
    one = world.held(write.lease)
    if one is None:
        return world.refusal(write.lease)
    row = (write.activity_id or "", EventType.CHANNEL_SUBSCRIBED.value, write.event_data)
    if (there := one.history.get(write.activity_id or "")) is not None:
        return Verdict.ACCEPTED if there == row else ("recorded", *there)
    if (conflict := _begin(world, one, name, write.mode)) is not None:
        return conflict
    if write.activity_id is not None:
        one.history[write.activity_id] = row
    return Verdict.ACCEPTED


def _begin(world: World, one: Instance, name: str, mode: ChannelMode) -> ModeConflict | None:
    channel = world.channels[name]
    others = {held.mode for (_, of), held in world.subscriptions.items() if of == name}
    if others and others != {mode}:
        world.done["subscription refused: the other mode"] += 1
        return ModeConflict(others.pop())
    channel.mode = mode
    if (one.chain, name) not in world.subscriptions:
        world.subscriptions[one.chain, name] = Subscription(mode, channel.next_position - 1)
        world.done[f"subscription: {mode}"] += 1
    return None


def unsubscribe(world: World, write: Unsubscribed) -> Any:
    name = world.stored_name(write.channel)
    world.lock(name)
    one = world.held(write.lease)
    if one is None:
        return world.refusal(write.lease)
    row = (write.activity_id or "", EventType.CHANNEL_UNSUBSCRIBED.value, write.event_data)
    if (there := one.history.get(write.activity_id or "")) is not None:
        return Verdict.ACCEPTED if there == row else ("recorded", *there)
    if world.subscriptions.pop((one.chain, name), None) is not None:
        world.shared.add(name)
        world.done["subscription ended"] += 1
    if write.activity_id is not None:
        one.history[write.activity_id] = row
    return Verdict.ACCEPTED


def publish(world: World, write: MessagePublished) -> Published:
    target = "" if write.target is None else world.chain_of(write.target)
    direct = write.target is not None and write.direct
    name = f"{write.channel}:{target}" if direct else world.stored_name(write.channel)
    channel = world.lock(name)
    if write.key is None or write.key not in world.inbox:
        if write.key is not None:
            world.inbox[write.key] = ("", world.now)
        position, channel.next_position = channel.next_position, channel.next_position + 1
        message = Message(name, target, position, write.message_id, write.data, world.now)
        world.messages.append(message)
        mode = channel.mode or ChannelMode.BROADCAST
        world.done["publish: " + ("direct" if direct else "targeted" if target else mode)] += 1
    else:
        world.done["publish again under the same key"] += 1
    if not target:
        world.shared.add(name)
        if channel.mode is not ChannelMode.COMPETING:
            world.woken |= {one.instance_id for one in world.waiting(name)}
        return Published(delivered=False)
    targets = [
        one
        for one in world.instances.values()
        if one.waits_on(name) and (one.instance_id == target or (one.chain_id == target and one.is_live))
    ]
    world.woken |= {one.instance_id for one in targets if one.is_parked}
    return Published(delivered=bool(targets))


def take(world: World, write: MessageTaken) -> Any:
    name = world.stored_name(write.channel)
    run = world.instances.get(write.lease.instance_id)
    is_new = write.subscribe and run is not None and (run.chain, name) not in world.subscriptions
    if is_new:
        world.lock(name)
    one = world.held(write.lease)
    refusal: Any = None
    if one is None:
        refusal = world.refusal(write.lease)
    elif (there := one.history.get(write.activity_id)) is not None:
        refusal = ("recorded", *there)
    if refusal is not None:
        return _refused(world, write, run, name, refusal=refusal, is_new=is_new)
    assert one is not None
    if is_new and (conflict := _begin(world, one, name, ChannelMode.BROADCAST)) is not None:
        return conflict
    message = _next(world, one, name)
    if message is not None:
        return _record(world, one, write, name, message=message)
    if (one.chain, name) not in world.subscriptions:
        return NoMessage.NOT_SUBSCRIBED
    if write.timeout_data is None:
        return NoMessage.NOTHING_THERE
    one.waits.pop(write.activity_id, None)
    one.history[write.activity_id] = (write.activity_id, EventType.MESSAGE_TIMEOUT, write.timeout_data)
    world.done["timeout"] += 1
    return NoMessage.TIMED_OUT


def resume(world: World, write: RunResumed) -> Any:
    take, lease = write.message, write.message.lease
    name = world.stored_name(take.channel)
    one = world.instances.get(lease.instance_id)
    if one is not None and name in world.competing(one.chain):
        world.lock(name)
    message = None if one is None else _next(world, one, name)
    as_parked = (
        one is not None
        and (one.owner, one.token + 1, one.cancel_token) == (None, lease.token, None)
        and one.status is Status.WAITING_FOR_MESSAGE
        and take.activity_id not in one.history
    )
    if one is None or message is None or not as_parked:
        if one is None:
            return Verdict.LEASE_LOST
        nothing = (
            NoMessage.NOTHING_THERE if (one.chain, name) in world.subscriptions else NoMessage.NOT_SUBSCRIBED
        )
        if as_parked:
            return nothing
        # Where nothing is to be taken nobody asks for the lease, unless the batch is made again.
        return Verdict.LEASE_LOST if message is not None else Either((nothing, Verdict.LEASE_LOST))
    one.status, one.owner, one.token, one.leased_at = Status.RUNNING, lease.owner, lease.token, world.now
    one.due, one.updated = world.now + lease.seconds, world.now
    world.given.append(lease)
    world.done["resumed with a message"] += 1
    return _record(world, one, take, name, message=message)


def _refused(
    world: World, write: MessageTaken, run: Instance | None, name: str, *, refusal: Any, is_new: bool
) -> Any:
    """Where nothing would be written nobody asks for the lease, unless something else in the batch does."""
    if run is None or is_new or _next(world, run, name) is not None:
        return refusal
    if (run.chain, name) not in world.subscriptions:
        return Either((refusal, NoMessage.NOT_SUBSCRIBED))
    return refusal if write.timeout_data is not None else Either((refusal, NoMessage.NOTHING_THERE))


def _next(world: World, one: Instance, name: str) -> Message | None:
    """The oldest message that may be taken."""
    there = world.own(name, one.chain) + world.unread(name, one.chain)
    return min(there, key=lambda message: message.position, default=None)


def park(world: World, write: RunParked) -> Any:
    """A run that waits for a message alone takes it instead, if there is one."""
    one = world.held(write.lease)
    if one is not None and write.message is not None:
        name = world.stored_name(write.message.channel)
        world.lock(name)
        if (message := _next(world, one, name)) is not None:
            world.done["a message instead of parking"] += 1
            return _record(world, one, write.message, name, message=message)
    return oracle_instances.park(world, write)


def _record(world: World, one: Instance, write: MessageTaken, name: str, *, message: Message) -> Any:
    held = world.subscriptions.get((one.chain, name))
    is_broadcast = held is not None and held.mode is ChannelMode.BROADCAST
    if message.target or not is_broadcast:
        world.messages.remove(message)
    elif held is not None:
        held.position = message.position
    data = f"{message.message_id} on {write.shown_channel}: {message.data}"
    one.history[write.activity_id] = (write.activity_id, EventType.CHANNEL_MESSAGE_RECEIVED, data)
    one.waits.pop(write.activity_id, None)
    world.done["take: " + ("own" if message.target else "broadcast" if is_broadcast else "competing")] += 1
    return ("taken", data)


# -- accepted events -----------------------------------------------------------------------------


def accept(world: World, write: EventsAccepted) -> tuple[Any, tuple[Write[Any], ...]]:
    """The ids of the instances it makes, and the message of an event that nobody has published."""
    messages: list[Write[Any]] = []
    is_known = bool(write.events)
    for event in write.events:
        shared = event.publication_key or event.event_key
        if shared not in world.inbox:
            world.inbox[shared] = (event.owner_service, world.now)
            messages += [] if event.message is None else [event.message]
            is_known = False
            world.done["event accepted"] += 1
        elif event.event_key in world.inbox or world.inbox[shared][0] == event.owner_service:
            world.done["event that comes again"] += 1
        else:
            world.inbox[event.event_key] = (event.owner_service, world.now)
            is_known = False
            world.done["event accepted by another service"] += 1
    made = () if is_known else tuple(new for new in write.instances if create(world, new))
    return frozenset(new.instance_id for new in made), tuple(messages)


# -- retention -----------------------------------------------------------------------------------


def purge_inbox(world: World, write: InboxPurged) -> int:
    old = [key for key, (_, received) in world.inbox.items() if received < world.now - write.older_than]
    for key in old:
        del world.inbox[key]
    world.done["retention of events"] += bool(old)
    return len(old)


def purge_messages(world: World, write: MessagesPurged) -> Any:
    live = {name for one in world.instances.values() if one.is_live for name in (one.instance_id, one.chain)}
    old = [m for m in world.messages if m.published < world.now - write.older_than and m.target not in live]
    world.messages = [message for message in world.messages if message not in old]
    world.done["retention of messages"] += bool(old)
    return ("swept", len(old))


def purge_channels(world: World, write: ChannelsPurged) -> Any:
    used = {message.channel for message in world.messages} | {name for _, name in world.subscriptions}
    used |= {wait.channel or "" for one in world.instances.values() for wait in one.waits.values()}
    idle = world.channels.keys() - used
    for name in idle:
        del world.channels[name]
    world.done["retention of channels"] += bool(idle)
    return ("swept", len(idle))


HANDLERS: dict[type[Write[Any]], Callable[[World, Any], Any]] = {
    Subscribed: subscribe,
    Unsubscribed: unsubscribe,
    MessagePublished: publish,
    MessageTaken: take,
    RunResumed: resume,
    RunParked: park,
    InboxPurged: purge_inbox,
    MessagesPurged: purge_messages,
    ChannelsPurged: purge_channels,
}
