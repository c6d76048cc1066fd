"""The rows of subscriptions: who hears a channel, in which mode, and how far they have come."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Delete, Select, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from edda.storage.columns import Count, LongText
from edda.storage.dialects.base import Dialect, RowsQuery, RowsStatement
from edda.storage.models import workflow_instances, workflow_subscriptions
from edda.storage.records import Subscription
from edda.types import ChannelMode

_table = workflow_subscriptions.c


@dataclass(slots=True)
class Subscribing:
    """A subscription; broadcast messages up to ``position`` are read."""

    mode: ChannelMode
    position: int


@dataclass(slots=True)
class Subscriber:
    """The chain of recurs that an instance belongs to, and its subscriptions by channel."""

    subscriber_id: str
    channels: dict[str, Subscribing] = field(default_factory=dict)

    def competing(self) -> set[str]:
        """The channels whose messages it shares with others."""
        return {name for name, held in self.channels.items() if held.mode is ChannelMode.COMPETING}


def of_instances(
    connection: Connection, dialect: Dialect, instance_ids: Iterable[str]
) -> dict[str, Subscriber]:
    """The subscribers of these instances; those of one chain have the same one."""
    by_id: dict[str, Subscriber] = {}
    found: dict[str, Subscriber] = {}
    rows = connection.execute(_select_of_instances(dialect), {"instance_ids": sorted(set(instance_ids))})
    for row in rows:
        subscriber = by_id.setdefault(row.subscriber_id, Subscriber(row.subscriber_id))
        if row.channel is not None:
            subscriber.channels[row.channel] = Subscribing(ChannelMode(row.mode), row.position)
        found[row.instance_id] = subscriber
    return found


@cache
def _select_of_instances(dialect: Dialect) -> Select[Any]:
    instance = workflow_instances.c
    chain = func.coalesce(instance.chain_id, instance.instance_id)
    held = workflow_instances.outerjoin(workflow_subscriptions, _table.subscriber_id == chain)
    return (
        select(
            instance.instance_id,
            chain.label("subscriber_id"),
            _table.channel,
            _table.mode,
            _table.position,
        )
        .select_from(held)
        .where(dialect.member(instance.instance_id, "instance_ids"))
    )


def in_use(connection: Connection, dialect: Dialect, modes: Collection[tuple[str, ChannelMode]]) -> set[str]:
    """Those of these channels to which somebody is subscribed in that mode."""
    if not modes:
        return set()
    asked = [(channel, mode.value, 1) for channel, mode in sorted(modes)]
    return {row.channel for row in dialect.ask(connection, IN_USE, asked)}


IN_USE = RowsQuery(
    lambda asked: select(_table.channel).where(
        _table.channel == asked["channel"], _table.mode == asked["mode"]
    ),
    {"channel": LongText, "mode": LongText},
)


def insert(connection: Connection, dialect: Dialect, new: Mapping[tuple[str, str], Subscribing]) -> None:
    """Add these subscriptions of (subscriber, channel), unless there is one already."""
    if new:
        rows = [
            (*key, held.mode.value, held.position) for key, held in sorted(new.items(), key=itemgetter(0))
        ]
        dialect.run(connection, _insert(dialect), rows)


@cache
def _insert(dialect: Dialect) -> RowsStatement:
    incoming = dialect.incoming(subscriber_id=LongText, channel=LongText, mode=LongText, position=Count)
    return RowsStatement(
        dialect.insert_absent(
            workflow_subscriptions,
            incoming.columns,
            incoming=incoming,
            key=("subscriber_id", "channel"),
        ),
        incoming,
    )


def advance(
    connection: Connection, dialect: Dialect, moves: Mapping[tuple[str, str], tuple[int, int]]
) -> bool:
    """Move positions of (subscriber, channel) on, from one to another; say if all were at the first."""
    rows = [(*key, *positions) for key, positions in sorted(moves.items())]
    return not rows or dialect.run(connection, _advance(dialect), rows) == len(rows)


@cache
def _advance(dialect: Dialect) -> RowsStatement:
    incoming = dialect.incoming(subscriber_id=LongText, channel=LongText, passed=Count, position=Count)
    statement = (
        update(workflow_subscriptions)
        .where(
            _table.subscriber_id == incoming["subscriber_id"],
            _table.channel == incoming["channel"],
            _table.position == incoming["passed"],
        )
        .values(position=incoming["position"])
    )
    return RowsStatement(statement, incoming)


def remove(connection: Connection, dialect: Dialect, keys: Iterable[tuple[str, str]]) -> None:
    """End these subscriptions of (subscriber, channel), as far as they are there."""
    if rows := sorted(set(keys)):
        dialect.run(connection, _delete(dialect), rows)


@cache
def _delete(dialect: Dialect) -> RowsStatement:
    incoming = dialect.incoming(subscriber_id=LongText, channel=LongText)
    statement: Delete = delete(workflow_subscriptions).where(
        _table.subscriber_id == incoming["subscriber_id"], _table.channel == incoming["channel"]
    )
    return RowsStatement(statement, incoming)


async def load(
    connection: AsyncConnection, dialect: Dialect, subscribers: Sequence[str]
) -> dict[str, list[Subscription]]:
    """The subscriptions of these chains of recurs."""
    found: dict[str, list[Subscription]] = {subscriber: [] for subscriber in subscribers}
    for row in await connection.execute(_select(dialect), {"subscribers": subscribers}):
        found.setdefault(row.subscriber_id, []).append(Subscription(row.channel, ChannelMode(row.mode)))
    for held in found.values():
        held.sort(key=lambda subscription: subscription.channel)
    return found


@cache
def _select(dialect: Dialect) -> Select[Any]:
    return select(_table.subscriber_id, _table.channel, _table.mode).where(
        dialect.member(_table.subscriber_id, "subscribers")
    )
