"""Which chain of recurs a message is for, and which channel a long name means.

Whoever has recurred is addressed by any id it ever had; what is stored is the id of the
first instance of its chain.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, func, select

from edda.storage.dialects.base import Dialect
from edda.storage.message_writes import MessagePublished, MessageTaken, RunResumed, Subscribed, Unsubscribed
from edda.storage.models import workflow_instances
from edda.storage.writes import NewWait, RunParked, WaitsEnded, WaitsRegistered, Write

Chains = Mapping[str, str]
"""The chain of each instance that is there."""


def resolved(connection: Connection, dialect: Dialect, writes: Sequence[Write[Any]]) -> list[Write[Any]]:
    """The writes with channels and targets as they are stored.

    Asks the database only about targets and about long names, ``{channel}:{instance id}``.
    """
    ids = {instance_id for write in writes for instance_id in _mentioned(write)}
    chains = chains_of(connection, dialect, ids)
    return [_resolve(write, chains) for write in writes]


def chains_of(connection: Connection, dialect: Dialect, instance_ids: Iterable[str]) -> Chains:
    """The chains of those of these instances that are there."""
    wanted = sorted(set(instance_ids))
    if not wanted:
        return {}
    return {row.instance_id: row.chain for row in connection.execute(_select(dialect), {"ids": wanted})}


@cache
def _select(dialect: Dialect) -> Select[Any]:
    table = workflow_instances.c
    chain = func.coalesce(table.chain_id, table.instance_id)
    return select(table.instance_id, chain.label("chain")).where(dialect.member(table.instance_id, "ids"))


def queue_of(
    connection: Connection, dialect: Dialect, target: str, channel: str, *, direct: bool
) -> tuple[str, str]:
    """Channel and chain under which a message for this instance is stored."""
    chains = chains_of(connection, dialect, (target, owner_of(channel) or target))
    chain = chains.get(target, target)
    return f"{channel}:{chain}" if direct else stored_name(channel, chains), chain


def owner_of(channel: str) -> str | None:
    """The instance whose id ends the name, if the name is such a long one."""
    return channel.rpartition(":")[2] or None if ":" in channel else None


def stored_name(channel: str, chains: Chains) -> str:
    """The name with the chain in it instead of one of its instances."""
    short, _, instance_id = channel.rpartition(":")
    return f"{short}:{chains[instance_id]}" if short and instance_id in chains else channel


def _mentioned(write: Write[Any]) -> Iterator[str]:
    match write:
        case MessagePublished(target=str(target)):
            yield target
            if not write.direct and (owner := owner_of(write.channel)):
                yield owner
        case MessagePublished(channel=channel):
            if owner := owner_of(channel):
                yield owner
        case Subscribed() | Unsubscribed() | MessageTaken():
            owner = owner_of(write.channel)
            if owner is not None and owner != write.subscriber:
                yield owner
        case RunResumed(message=message):
            yield from _mentioned(message)
        case RunParked(waits=waits) | WaitsRegistered(waits=waits):
            yield from (owner for wait in waits if wait.channel and (owner := owner_of(wait.channel)))
        case WaitsEnded(channels=channels):
            yield from (owner for channel in channels if (owner := owner_of(channel)))


def _resolve(write: Write[Any], chains: Chains) -> Write[Any]:
    match write:
        case MessagePublished(target=str(target), direct=True):
            chain = chains.get(target, target)
            return replace(write, channel=f"{write.channel}:{chain}", target=chain)
        case MessagePublished(target=target):
            known = target if target is None else chains.get(target, target)
            return replace(write, channel=stored_name(write.channel, chains), target=known)
        case Subscribed() | Unsubscribed() | MessageTaken() if chains:
            return replace(write, channel=stored_name(write.channel, chains))
        case RunParked() | RunResumed() | WaitsRegistered() | WaitsEnded() if chains:
            return _resolve_waiting(write, chains)
    return write


def _resolve_waiting(write: Any, chains: Chains) -> Write[Any]:
    changes: dict[str, Any] = {}
    if (message := getattr(write, "message", None)) is not None:
        changes["message"] = _resolve(message, chains)
    if isinstance(write, WaitsEnded):
        changes["channels"] = tuple(stored_name(name, chains) for name in write.channels)
    elif not isinstance(write, RunResumed):
        changes["waits"] = _resolve_waits(write.waits, chains)
    resolved: Write[Any] = replace(write, **changes)
    return resolved


def _resolve_waits(waits: Sequence[NewWait], chains: Chains) -> tuple[NewWait, ...]:
    return tuple(
        wait if wait.channel is None else replace(wait, channel=stored_name(wait.channel, chains))
        for wait in waits
    )
