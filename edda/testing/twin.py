"""An app for tests: on SQLite, otherwise as the app of the user, and observed in what it writes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from edda.app import EddaApp
from edda.loops.retention import PAUSE
from edda.settings import Settings
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from edda.storage.writes import Write

IN_MEMORY = "sqlite:///:memory:"
# What a user may have set on the class or the object.
_ATTRIBUTES = (
    "max_body_size",
    "body_seconds",
    "accept_seconds",
    "authenticate",
    "max_concurrent_workflows",
    "drain_seconds",
    "event_retry_policy",
    "strict_replay",
    "max_payload_bytes",
    "resident_limit",
    "instance_retention_days",
    "outbox_options",
)
# What belongs to the database or the broker of the original.
_LEFT_OUT = ("db_url", "use_listen_notify", "outbox_enabled", "auto_migrate")


class ObservedStorage(SQLAlchemyStorage):
    """A storage that counts the writes that are submitted to it."""

    submitted = 0
    answered = 0

    async def submit(self, write: Write[Any], *, within: float | None = None) -> Any:
        """As ever."""
        self.submitted += 1
        try:
            return await super().submit(write, within=within)
        finally:
            self.answered += 1

    async def change(self, work: Callable[[Any], object]) -> None:
        """Commit what a function does with a synchronous connection to the database."""
        transaction = self.transaction()
        connection = await transaction.session.connection()
        await connection.run_sync(work)
        await transaction.commit(())


class TwinApp(EddaApp):
    """An app on a SQLite database with the handlers, hooks and settings of another one.

    No relayer is started: events for the outbox stay there to be looked at.
    """

    storage: ObservedStorage

    def __init__(self, original: EddaApp | None, db_url: str = IN_MEMORY, **options: Any) -> None:
        if original is None:
            super().__init__("test", db_url, **options)
            return
        kept = {
            field.name: getattr(original.settings, field.name)
            for field in fields(Settings)
            if field.name not in _LEFT_OUT
        }
        super().__init__(db_url=db_url, **{"hooks": original.hooks, **kept, **options})
        self.event_handlers = original.event_handlers
        for name in _ATTRIBUTES:
            setattr(self, name, getattr(original, name))

    async def clean_up(self, patience: float) -> None:
        """Remove what is older than the retention says, as the leader does each hour."""
        worker = self._require_worker()
        deadline = time.monotonic() + patience
        while not worker.leader.leads():  # its term may have ended when the clock was moved
            if time.monotonic() > deadline:
                raise TimeoutError(f"No leader after {patience:g} seconds of real time")
            worker.leader.wake()
            await asyncio.sleep(0.002)
        while await worker.retention.round() <= PAUSE:
            continue

    def _make_storage(self) -> ObservedStorage:
        return ObservedStorage(self.settings.db_url, stall_seconds=self.settings.stall_seconds)
