"""What workers and people ask the database, as far as its cost must not grow with the tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.sql.base import Executable

from edda.storage import batch, due, outbox_keys, shown
from edda.storage.dialects.base import Attempt
from edda.storage.message_writes import ChannelsPurged, MessagesPurged
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.upkeep_writes import InstancesPurged, LeadershipClaimed
from edda.storage.writes import EventsAccepted, InboxEvent, InboxPurged, LeasesRenewed, RunReleased, Write
from edda.storage.writes_outbox import OutboxLeased, OutboxPurged
from tests.storage.plans import plans_of, plans_of_reads
from tests.support.large import DAY, FIRST_KEY, KEY_PREFIX
from tests.support.messages import message
from tests.support.searching import search
from tests.support.writes import WORKFLOW, claim, claim_due, finished, parked, run_of, step, wait

# Reading a table of the library as a whole, in the words of each database. What is sent along
# with a statement is a table, too, and may be read as one.
WHOLE = re.compile(r"seq scan on workflow_|scan workflow_|'workflow_\w+', 'all'|'workflow_\w+', 'index'")
# Pages of a list are read in the order of an index, from one of its ends. There are few definitions.
UNORDERED = re.compile(
    r"seq scan on workflow_(?!definitions)|scan workflow_\w+(?! using)\b"
    r"|'workflow_\w+', 'all'|sort|temp b-tree"
)
NAMES = (WORKFLOW, "other", "shop.on_event")


async def writes(storage: SQLAlchemyStorage) -> dict[str, Write[Any]]:
    """One write of each kind, made anew at each call."""
    held = [await run_of(storage) for _ in range(6)]
    await storage.submit(parked(held[5], wait("sleep:1", 60)))
    event = InboxEvent(f"{KEY_PREFIX}{FIRST_KEY + 1}", "shop", "/shop", "event-1", "order.placed")
    return {
        "record a step": step(held[0], "pay:2"),
        "park": parked(held[1], wait("sleep:2", 60)),
        "finish": finished(held[2]),
        "hand back": RunReleased(held[3]),
        "renew": LeasesRenewed((held[4],)),
        "claim one": claim(held[5].instance_id),
        "claim what is due": claim_due(names=NAMES),
        "publish and wake": message("topic 101"),
        "accept an event again": EventsAccepted((event,), ()),
        "lead": LeadershipClaimed("me", 60),
        "lease events to send": OutboxLeased("token", 10, 60.0),
        "remove accepted events": InboxPurged(float(DAY) / 10, 10),
        "remove sent events": OutboxPurged(float(DAY) / 10, 10),
        "remove messages": MessagesPurged(float(DAY) / 10, 10),
        "remove channels": ChannelsPurged(10),
        "remove instances": InstancesPurged(float(DAY) / 10, 10, 100),
    }


def reads(storage: SQLAlchemyStorage) -> dict[str, tuple[Executable, dict[str, Any]]]:
    """One query of each kind."""
    dialect = storage.dialect
    return {
        "look for what is due": (due._select_first(dialect), {"names": [*NAMES]}),
        "look for events to send": (outbox_keys._select_first(dialect), {}),
        "list": (shown.candidates(search(), None, 50), {}),
        "list completed": (shown.candidates(search(status="completed"), None, 50), {}),
        "show one": (shown._SHOW_ONE, {"instance": "large-1"}),
    }


async def readings_of_whole_tables(storage: SQLAlchemyStorage) -> list[str]:
    """The plans of all of these that read a table as a whole, by name."""
    found = []
    for name, write in (await writes(storage)).items():
        job = _applied(storage, [write])
        found += [f"{name}:\n{plan}" for plan in await plans_of(storage, job) if WHOLE.search(plan)]
    for name, (query, parameters) in reads(storage).items():
        plans = await plans_of_reads(storage, query, parameters)
        found += [f"{name}:\n{plan}" for plan in plans if UNORDERED.search(plan)]
    return found


def _applied(storage: SQLAlchemyStorage, every: Sequence[Write[Any]]) -> Callable[[Connection], object]:
    return lambda connection: batch.apply(connection, storage.dialect, every, Attempt.REPEATED)
