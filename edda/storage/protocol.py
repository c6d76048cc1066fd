"""What the engine sees of storage: narrow ports, no SQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from sqlalchemy.ext.asyncio import AsyncSession as AsyncSession
from sqlalchemy.orm import Session as Session

from edda.searching import Search
from edda.storage.news import Companion, Listener
from edda.storage.records import HistoryRecord, InstanceRecord, StoredRun, Subscription, WaitRecord
from edda.storage.writes import Write
from edda.types import JSONObject, JSONValue

__all__ = ["StorageProtocol"]

A = TypeVar("A")


class WriterPort(Protocol):
    """The one way in for writes."""

    async def submit(self, write: Write[A], *, within: float | None = None) -> A:
        """Commit the write together with those of others; return its own answer.

        While the database is away it is tried again for ``within`` seconds (default:
        30). Raises :class:`edda.exceptions.StorageError` when that did not help, or
        when the database refuses this write.
        """
        ...


class ReaderPort(Protocol):
    """The reads of the engine; each is one query, or a few, which those who ask at the same time share."""

    async def load_instance(self, instance_id: str) -> InstanceRecord | None:
        """The instance, or None."""
        ...

    async def load_run(self, instance_id: str, chain: str) -> StoredRun:
        """All that is stored of a run of this instance, which belongs to this chain of recurs."""
        ...

    async def load_history(self, instance_id: str) -> Sequence[HistoryRecord]:
        """All recorded steps in the order of recording."""
        ...

    async def load_waits(self, instance_id: str) -> Sequence[WaitRecord]:
        """All open waits."""
        ...

    async def load_subscriptions(self, subscriber: str) -> Sequence[Subscription]:
        """All subscriptions of a chain of recurs."""
        ...

    async def is_waiting(self, instance_id: str, channel: str, *, direct: bool = False) -> bool:
        """Whether the live instance of this chain waits for a message on the channel.

        ``direct``: on the channel ``{channel}:{id}`` that is its own.
        """
        ...

    async def seconds_until_due(self, workflow_names: Sequence[str]) -> float | None:
        """Seconds until the first instance of these workflows is due (0: now), None: none is."""
        ...

    async def seconds_until_outbox_due(self) -> float | None:
        """Seconds until a relayer has something to do (0: now), None: no event is open."""
        ...


class InspectionPort(Protocol):
    """The public reads: plain dicts for people and programs outside the engine."""

    async def get_instance(self, instance_id: str) -> JSONObject | None:
        """The instance as ``find_instances`` shows it, or None."""
        ...

    async def find_instances(self, search: Search) -> dict[str, Any]:
        """A page of the instances that match, as ``EddaApp.find_instances`` returns it."""
        ...

    async def get_history(self, instance_id: str) -> list[JSONObject]:
        """The history in the order of recording; empty for an instance that recurred."""
        ...

    async def get_archived_history(self, instance_id: str) -> list[JSONObject]:
        """The history of an instance that recurred, in the order of recording."""
        ...

    async def get_pending_outbox_events(self, limit: int = 10) -> list[dict[str, Any]]:
        """The events that wait to be sent, the oldest first; bytes as ``bytes``."""
        ...

    async def get_outbox_events(self, status: str, limit: int = 10) -> list[dict[str, Any]]:
        """The events of this status, the oldest first."""
        ...

    async def requeue_outbox_event(self, event_id: str) -> bool:
        """Have an event sent that was given up; False if there is no such event."""
        ...

    async def get_dead_letters(self, limit: int = 10) -> list[JSONObject]:
        """The accepted events whose ``on_event`` handlers gave up, the oldest first."""
        ...

    async def requeue_dead_letter(self, instance_id: str) -> bool:
        """Have the handlers that gave up run again; False if there is no such event."""
        ...

    async def append_history(
        self, instance_id: str, activity_id: str, event_type: str, event_data: JSONValue
    ) -> None:
        """Add a row to the history of an instance that no worker is running."""
        ...


class SavepointPort(Protocol):
    """A savepoint that was set."""

    async def commit(self) -> None:
        """Keep what happened since."""
        ...

    async def rollback(self) -> None:
        """Undo what happened since."""
        ...


class TransactionPort(Protocol):
    """A real transaction: statements of the user, and writes of the library, in one commit."""

    @property
    def session(self) -> AsyncSession:
        """Where the user's statements go; the first one begins the transaction."""
        ...

    @property
    def began(self) -> bool:
        """Whether anything went through the session."""
        ...

    @property
    def is_alone(self) -> bool:
        """Whether nothing else of this process is written while it is open: SQLite has one writer."""
        ...

    @property
    def is_lost(self) -> bool:
        """Whether the database was in trouble since it began, so that parts of it may be gone."""
        ...

    async def savepoint(self) -> SavepointPort:
        """Set a savepoint."""
        ...

    async def commit(self, writes: Sequence[Write[Any]]) -> Sequence[Any]:
        """Execute the writes, commit, and return their answers; a refused one rolls back everything.

        Raises :class:`edda.exceptions.TransactionLostError` when the database was in
        trouble and nothing was stored, and the database's own error when it refuses the
        user's rows.
        """
        ...

    async def rollback(self) -> None:
        """Undo everything."""
        ...

    def is_trouble(self, error: BaseException) -> bool:
        """Whether an error out of the user's statements is trouble of this database."""
        ...


class NewsPort(Protocol):
    """What commits make known, in this process and in others."""

    def listen(self, listener: Listener | None) -> None:
        """Have this function called after each commit that made something known; None: nobody."""
        ...

    def listen_to_others(self) -> None:
        """Have it hear of the commits of other processes as well, where the database can tell."""
        ...

    async def alert_others(self) -> None:
        """Have other processes look at everything there is, where the database can tell them."""
        ...

    @property
    def hears_others(self) -> bool:
        """Whether the commits of other processes are heard at this moment."""
        ...


class TransactionsPort(Protocol):
    """Real transactions, for those who ask."""

    def transaction(self) -> TransactionPort:
        """A transaction that begins with its first statement."""
        ...


class CompanionPort(Protocol):
    """What is told of writes before they are committed."""

    def accompany(self, companion: Companion | None) -> None:
        """Have this function called with each write, just before it is submitted; None: nobody.

        What a task that it makes submits at once shares the commit of that write.
        """
        ...


class StorageProtocol(
    CompanionPort, TransactionsPort, NewsPort, WriterPort, ReaderPort, InspectionPort, Protocol
):
    """All ports together, with the life cycle."""

    async def open(self, *, migrate: bool) -> None:
        """Connect, bring the schema up to date (or only check it), start the writer."""
        ...

    async def close(self) -> None:
        """Finish the writes under way and release every connection. Harmless when repeated."""
        ...
